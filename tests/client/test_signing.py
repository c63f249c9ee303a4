"""Request signing against the test vector of contract 1.4."""

from __future__ import annotations

import hashlib

from airflow_provider_modelarts.client.auth.signing import canonical_request, signature

# The vector's keys are made up, and are printed in the contract.
SECRET_KEY = "example-secret-key-for-tests-only-0001"
DATE = "20191115T033655Z"


def test_the_vector_of_the_contract() -> None:
    canonical = canonical_request(
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
        {"Content-Type": "application/json", "Host": "service.region.example.com", "X-Sdk-Date": DATE},
        b"",
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert digest == "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
    assert signature(canonical, DATE, SECRET_KEY) == "1c691a49fe1eeb8ed38a13aa2ed4217f43d9eda2522e8f14c5d025d644dad010"


def test_fields_with_an_underscore_are_not_signed() -> None:
    canonical = canonical_request("GET", "/", "", {"X_Strange": "1", "Host": "h"}, b"")
    assert "x_strange" not in canonical
    assert "host:h\n" in canonical
