"""Every kind of fault that the emulator has for requests, each armed for the request that is under way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.emulator.http.faults import Rule

_PATHS = {
    "page": ("GET", "auto-annotations"),
    "proposal": ("GET", "auto-annotations"),
    "final": ("GET", "data-annotations"),
    "write": ("PUT", "data-annotations"),
}


def _arm(emulator: Emulator, kind: str, *, fault: str, times: int = 1, **args: Any) -> Rule:
    method, path = _PATHS.get(kind, ("GET", "datasets"))
    return emulator.faults.add(method, path, fault, times=times, **args)


def _arm_write(emulator: Emulator, kind: str, *, fault: str, times: int = 1, **args: Any) -> Rule:
    return emulator.faults.add("PUT", "data-annotations", fault, times=times, **args)


def _lose_tokens(emulator: Emulator, kind: str) -> Rule:
    emulator.revoke_tokens()
    return emulator.faults.add("POST", "auth/tokens", "status", status=503)


FAULTS: dict[str, Callable[[Emulator, str], Rule]] = {
    "status 503": partial(_arm, fault="status", status=503),
    "three times 500": partial(_arm, fault="status", status=500, times=3),
    "429": partial(_arm, fault="status", status=429, code="APIGW.0308"),
    "429 with Retry-After": partial(_arm, fault="status", status=429, headers={"Retry-After": "7"}, times=2),
    "html": partial(_arm, fault="html"),
    "reset": partial(_arm, fault="reset"),
    "reset_after": partial(_arm, fault="reset_after"),
    "twice reset_after": partial(_arm, fault="reset_after", times=2),
    "delay": partial(_arm, fault="delay", seconds=0),
    "delay applied": partial(_arm, fault="delay", seconds=0, applied=True),
    "truncated": partial(_arm, fault="truncated"),
    "expired_token": partial(_arm, fault="expired_token"),
    "revoke": partial(_arm, fault="revoke"),
    "no token": _lose_tokens,
    "denied": partial(_arm, fault="status", status=403, code="ModelArts.0108"),
    "fail_sample": partial(_arm_write, fault="fail_sample", position=0, code="ModelArts.4420"),
    "results": partial(_arm_write, fault="results", form="short"),
    "413": partial(_arm_write, fault="status", status=413, code="ModelArts.4104"),
    "4105": partial(_arm_write, fault="status", status=400, code="ModelArts.4105"),
    "4381": partial(_arm_write, fault="status", status=400, code="ModelArts.4381", times=2),
}
