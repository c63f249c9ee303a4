"""Every field of the connection, and what is said about one that is missing or makes no sense (design 4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.hooks.connection import ConnectionSettings, read_settings
from airflow_provider_modelarts.hooks.connection_form import EXTRA_FIELDS

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3nt1nel-passw0rd"
PASSWORD: dict[str, Any] = {
    "login": "labeler",
    "password": SECRET,
    "extra": {"region": "cn-north-4", "domain_name": "flowers"},
}
ACCESS_KEY: dict[str, Any] = {
    "login": "AK0001",
    "password": SECRET,
    "extra": {"auth": "access_key", "region": "cn-north-4", "project_id": "0a1b2c"},
}
TOKEN: dict[str, Any] = {
    "password": SECRET,
    "extra": {"auth": "token", "region": "cn-north-4", "project_id": "0a1b2c"},
}


def connection(base: dict[str, Any], **changes: Any) -> Connection:
    """Return a connection; None removes a field, names that are no standard fields go into the extra."""
    standard = {name: value for name, value in base.items() if name != "extra"}
    extra = dict(base["extra"])
    for name, value in changes.items():
        target = standard if name in ("host", "port", "login", "password") else extra
        target[name] = value
        if value is None:
            del target[name]
    return Connection(conn_id="flowers", conn_type="modelarts", extra=json.dumps(extra), **standard)


def settings(base: dict[str, Any] = PASSWORD, **changes: Any) -> ConnectionSettings:
    return read_settings(connection(base, **changes))


def test_a_region_is_enough_for_all_addresses() -> None:
    found = settings()
    assert found.endpoint == "https://modelarts.cn-north-4.myhuaweicloud.com"
    assert found.iam_endpoint == "https://iam.cn-north-4.myhuaweicloud.com"
    assert (found.auth, found.login, found.secret) == ("password", "labeler", SECRET)
    assert (found.domain_name, found.project_name, found.project_id) == ("flowers", "cn-north-4", None)


@pytest.mark.parametrize(
    ("changes", "region"),
    [
        ({}, "cn-north-4"),
        ({"region": "cn-north-4_flowers"}, "cn-north-4"),
        ({"region": "cn-north-4", "host": "https://modelarts.region1.example.com"}, "cn-north-4"),
        ({"region": None, "project_id": "p", "host": "https://modelarts.region1.example.com"}, "region1"),
        ({"region": None, "project_id": "p", "host": "https://modelarts.example.com"}, "modelarts.example.com"),
        ({"region": None, "project_id": "p", "host": "http://127.0.0.1:8080"}, "127.0.0.1"),
    ],
)
def test_lineage_names_the_region_or_else_the_host(changes: dict[str, Any], region: str) -> None:
    assert settings(PASSWORD, iam_endpoint="https://iam.example.com", **changes).region == region


def test_the_console_follows_from_the_region_of_the_vendors_endpoint() -> None:
    address = "https://console.huaweicloud.com/modelarts/?region={}#/dataset?dataset_id={{dataset_id}}"
    assert settings().console == address.format("cn-north-4")
    host = "https://modelarts.cn-east-3.myhuaweicloud.com"
    elsewhere = {"region": None, "iam_endpoint": "iam", "project_name": "p"}
    for given in ({"host": host}, {"host": host, "port": 443}, {"host": f"{host}:443"}):
        assert settings(**given, **elsewhere).console == address.format("cn-east-3")


def test_the_console_of_another_installation_is_what_the_connection_says() -> None:
    assert settings(host="https://modelarts.region1.example.com").console is None
    console = "https://console.example.com/{region}/{dataset_id}"
    assert settings(console=console).console == "https://console.example.com/cn-north-4/{dataset_id}"
    with pytest.raises(InvalidRequest, match=r"extra\.console must be an http"):
        settings(console="javascript:alert(1)")


def test_the_defaults_are_those_of_the_design() -> None:
    found = settings()
    assert (found.verify, found.timeout, found.allow_http, found.poll_threads) == (True, (5, 30), False, 32)


@pytest.mark.parametrize(
    ("host", "port", "endpoint"),
    [
        ("modelarts.example.com", None, "https://modelarts.example.com"),
        ("modelarts.example.com", 8443, "https://modelarts.example.com:8443"),
        ("https://modelarts.example.com/", None, "https://modelarts.example.com"),
        ("https://modelarts.example.com/gate/", 8443, "https://modelarts.example.com:8443/gate"),
        ("http://127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080", 9090, "http://127.0.0.1:8080"),
        ("https://[::1]", 8443, "https://[::1]:8443"),
        ("[::1]", 8443, "https://[::1]:8443"),
        ("::1", None, "https://[::1]"),
        ("::1", 8443, "https://[::1]:8443"),
        ("fe80::10", 443, "https://[fe80::10]"),
        ("http://::1/gate/", 8080, "http://[::1]:8080/gate"),
    ],
)
def test_the_endpoint_is_a_url_or_a_host(host: str, port: int | None, endpoint: str) -> None:
    assert settings(host=host, port=port or "").endpoint == endpoint


@pytest.mark.parametrize("host", ["[::1]", "%5B%3A%3A1%5D", "%3A%3A1"])
def test_an_ipv6_address_of_a_connection_uri_is_reached(host: str) -> None:
    extra = "region=cn-north-4&domain_name=flowers"
    found = Connection(conn_id="flowers", uri=f"modelarts://labeler:pw@{host}:8443/?{extra}")
    assert read_settings(found).endpoint == "https://[::1]:8443"


@pytest.mark.parametrize(
    ("region", "domain"),
    [
        ("cn-north-1", "cn-north-1.myhuaweicloud.com"),
        ("ap-southeast-3", "ap-southeast-3.myhuaweicloud.com"),
        ("eu-west-101", "eu-west-101.myhuaweicloud.eu"),
        ("eu-de", "eu-de.otc.t-systems.com"),
        ("eu-de_project", "eu-de.otc.t-systems.com"),
        ("cn-north-4_flowers_2", "cn-north-4.myhuaweicloud.com"),
    ],
)
def test_a_regions_domain_is_known_and_a_project_within_it_may_be_named(region: str, domain: str) -> None:
    found = settings(region=region)
    assert found.endpoint == f"https://modelarts.{domain}"
    assert found.iam_endpoint == f"https://iam.{domain}"
    assert found.project_name == region


@pytest.mark.parametrize("region", ["eu-west-0", "eu-ch2", "atlantis", "eu-west-0_project", "my region", "https://x"])
def test_for_a_region_of_an_unknown_domain_the_endpoints_are_asked_for(region: str) -> None:
    with pytest.raises(InvalidRequest, match=f"region '{region}' is not known.* extra.iam_endpoint must be given"):
        settings(region=region, host="ma.example.com")
    with pytest.raises(InvalidRequest, match=f"region '{region}' is not known.* host must be given"):
        settings(region=region, iam_endpoint="iam.example.com")
    with pytest.raises(InvalidRequest, match="host must be given"):
        settings(ACCESS_KEY, region=region)
    found = settings(region=region, host="ma.example.com", iam_endpoint="iam.example.com")
    assert (found.endpoint, found.project_name) == ("https://ma.example.com", region)
    assert settings(ACCESS_KEY, region=region, host="ma.example.com").iam_endpoint is None


def test_an_installation_of_its_own_needs_no_region() -> None:
    found = settings(region=None, host="ma.example.com", iam_endpoint="iam.example.com", project_name="eu-de")
    assert found.endpoint == "https://ma.example.com"
    assert found.iam_endpoint == "https://iam.example.com"
    assert found.project_name == "eu-de"


def test_the_project_of_a_parameter_wins() -> None:
    assert read_settings(connection(TOKEN), project_id="other").project_id == "other"
    assert read_settings(connection(TOKEN)).project_id == "0a1b2c"
    assert read_settings(connection(TOKEN, project_id=None), project_id="other").project_id == "other"


def test_keys_and_tokens_lose_the_line_end_they_were_pasted_with_but_passwords_keep_their_blanks() -> None:
    assert settings(TOKEN, password=f"{SECRET}\n").secret == SECRET
    assert settings(PASSWORD, password=f" {SECRET} ").secret == f" {SECRET} "


@pytest.mark.parametrize(
    ("written", "read"), [("true", True), ("False", False), (True, True), (False, False), ("0", False), ("", True)]
)
def test_verify_is_read_from_text_and_boolean(written: object, read: bool) -> None:
    assert settings(verify=written).verify is read


def test_verify_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("certificates")
    assert settings(verify=str(file)).verify == str(file)


@pytest.mark.parametrize(("written", "read"), [("12", (5, 12)), (2, (2, 2)), (120.5, (5, 120.5))])
def test_a_timeout_limits_the_answer_and_a_short_one_the_connection_too(
    written: object, read: tuple[float, float]
) -> None:
    assert settings(timeout=written).timeout == read


def test_numbers_and_booleans_may_be_text() -> None:
    found = settings(allow_http="true", poll_threads="8")
    assert (found.allow_http, found.poll_threads) == (True, 8)


@pytest.mark.parametrize(
    ("base", "missing", "named"),
    [
        (PASSWORD, ["login"], ["login (IAM user)"]),
        (PASSWORD, ["password"], ["password (of the IAM user)"]),
        (PASSWORD, ["domain_name"], ["extra.domain_name"]),
        (
            PASSWORD,
            ["region"],
            ["host (or extra.region)", "extra.region (or extra.iam_endpoint)", "extra.project_name"],
        ),
        (PASSWORD, ["login", "password", "domain_name"], ["login", "password", "extra.domain_name"]),
        (ACCESS_KEY, ["login"], ["login (access key)"]),
        (ACCESS_KEY, ["password", "project_id"], ["password (secret key)", "extra.project_id"]),
        (ACCESS_KEY, ["region"], ["host (or extra.region)"]),
        (TOKEN, ["password"], ["password (token)"]),
        (TOKEN, ["project_id"], ["extra.project_id"]),
    ],
)
def test_a_half_filled_connection_names_every_missing_field(
    base: dict[str, Any], missing: list[str], named: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        settings(base, **dict.fromkeys(missing))
    text = str(raised.value)
    assert text.startswith("Connection 'flowers' is half-filled for auth ")
    assert all(name in text for name in named)
    assert "\n" not in text
    assert SECRET not in text


def test_blank_fields_are_missing_fields() -> None:
    with pytest.raises(InvalidRequest, match=r"login \(IAM user\) is missing"):
        settings(login="  ")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("auth", "kerberos", "extra.auth must be one of password, access_key, token"),
        ("timeout", "soon", "extra.timeout must be a number from 1 to 600"),
        ("timeout", 0, "extra.timeout must be a number from 1 to 600"),
        ("timeout", "nan", "extra.timeout must be a number from 1 to 600"),
        ("poll_threads", 0, "extra.poll_threads must be a number from 1 to 256"),
        ("poll_threads", 2.5, "extra.poll_threads must be a whole number"),
        ("allow_http", "perhaps", "extra.allow_http must be true or false"),
        ("verify", "/no/such/file.pem", "extra.verify must be true, false or the path of an existing file"),
        ("region", ["cn-north-4"], "extra.region must be a text"),
        ("host", "https://user:pass@example.com", "host must be a host or an http"),
        ("host", "ftp://example.com", "host must be a host or an http"),
        ("host", "https://example.com/?a=b", "host must be a host or an http"),
        ("host", "https://example.com:port", "host must be a host or an http"),
        ("iam_endpoint", "https://", "extra.iam_endpoint must be a host or an http"),
        ("port", 99999, "port must be a number from 1 to 65535"),
    ],
)
def test_a_value_without_sense_is_named(field: str, value: object, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        settings(PASSWORD, **{field: value})
    assert complaint in str(raised.value)
    assert "'flowers'" in str(raised.value)
    assert "user:pass" not in str(raised.value)


@pytest.mark.parametrize("extra", ["not json: s3cret", '["a list"]', "7"])
def test_an_extra_that_is_no_json_object_is_said_without_quoting_it(extra: str) -> None:
    with pytest.raises(InvalidRequest, match="extra is not a JSON object") as raised:
        read_settings(Connection(conn_id="flowers", conn_type="modelarts", login="u", password="p", extra=extra))
    assert "s3cret" not in str(raised.value)


def test_an_extra_with_a_key_twice_names_connection_and_key_and_no_value() -> None:
    extra = '{"project_id": "s3cret-a", "project_id": "s3cret-b"}'
    with pytest.raises(InvalidRequest, match="Connection 'flowers': extra has the key 'project_id' twice") as raised:
        read_settings(Connection(conn_id="flowers", conn_type="modelarts", login="u", password="p", extra=extra))
    assert "s3cret" not in str(raised.value)


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(settings())
    assert "temporary-token" not in repr(settings(ACCESS_KEY, security_token="temporary-token"))


def test_equal_connections_make_equal_settings_and_a_new_password_does_not() -> None:
    assert settings() == settings()
    assert settings() != settings(password="rotated")


# --- what a message shows


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("auth", "kerberos", "not 'kerberos'"),
        ("timeout", "soon", "not 'soon'"),
        ("timeout", 0, "not '0'"),
        ("poll_threads", 2.5, "not '2.5'"),
        ("allow_http", "perhaps", "not 'perhaps'"),
        ("verify", "/no/such/file.pem", "not '/no/such/file.pem'"),
        ("region", ["cn-north-4"], "not a list"),
        ("host", "ftp://example.com", "not 'ftp://example.com'"),
        ("host", "https://example.com:port", "not 'https://example.com:port'"),
        ("iam_endpoint", "https://", "not 'https://'"),
        ("console", "console.example.com", "not 'console.example.com'"),
        ("port", 99999, "not '99999'"),
    ],
)
def test_a_wrong_value_is_quoted(field: str, value: object, shown: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        settings(PASSWORD, **{field: value})
    assert shown in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", f"https://user:{SECRET}@example.com"),
        ("host", f"ftp://example.com/?token={SECRET}"),
        ("iam_endpoint", f"https://example.com/#{SECRET}"),
        ("auth", SECRET),
        ("timeout", f"30 {SECRET}"),
        ("security_token", {"value": SECRET}),
        ("region", {"password": SECRET}),
        ("console", f"user:{SECRET}@console.example.com"),
    ],
)
def test_a_wrong_value_that_may_hold_a_secret_is_not_quoted(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        settings(PASSWORD, **{field: value})
    assert field in str(raised.value)
    assert SECRET not in str(raised.value)


def test_unknown_keys_of_the_extra_are_told_with_what_may_be_meant_and_without_their_values() -> None:
    found = settings(PASSWORD, Regoin="cn-north-1", api_key=SECRET, timeouts=5)
    assert found.unknown == (
        "extra.Regoin is not known: is extra.region meant?",
        "extra.api_key is not known and has no effect",
        "extra.timeouts is not known: is extra.timeout meant?",
    )
    assert settings().unknown == ()
    assert found == settings()


def test_a_standard_field_in_the_extra_is_told_to_have_no_effect() -> None:
    extra = json.dumps({**PASSWORD["extra"], "host": "https://example.com"})
    made = Connection(conn_id="flowers", conn_type="modelarts", login="u", password="p", extra=extra)
    assert read_settings(made).unknown == ("extra.host has no effect: fill in the connection's own field host",)


def test_a_half_filled_connection_tells_of_a_misspelled_key() -> None:
    with pytest.raises(InvalidRequest, match=r"is extra\.domain_name meant\?"):
        settings(PASSWORD, domain_name=None, domain_nam="flowers")


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_every_field_of_the_form_is_read(name: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"extra\.{name} must be a text, not a dict"):
        settings(**{name: {"a": 1}})
