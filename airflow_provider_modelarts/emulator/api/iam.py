"""Identity: passwords, tokens, projects, access keys and their signatures (contract 1)."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply, json_reply
from airflow_provider_modelarts.emulator.http.signing import ALGORITHM, canonical_request, signature
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.identity import AccessKey

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.identity import Identity, Token
    from airflow_provider_modelarts.emulator.state.store import Store

CLOCK_SKEW_SECONDS = 15 * 60  # contract 1.4: X-Sdk-Date within 15 minutes
KEY_FAILURES, KEY_LOCK_SECONDS = 5, 5 * 60  # contract 1.4: more than 5 failures in a row lock the key for 5 minutes
NO_LINKS = {"next": None, "previous": None}


def create_token(store: Store, call: Call) -> Reply:
    """`POST /v3/auth/tokens` (contract 1.1)."""
    try:
        body = call.json()
    except Refusal:
        raise _bad_request() from None
    user = _at(body, "auth", "identity", "password", "user")
    if _at(body, "auth", "identity", "methods") != ["password"] or not isinstance(user, dict):
        raise _bad_request()  # MFA and agencies need accounts that the emulator does not play
    _check_password(store, user)
    identity = store.identity
    value = identity.issue(_scope(identity, _at(body, "auth", "scope", "project")))
    return _token_reply(identity, call, value, 201)


def _check_password(store: Store, user: dict[str, Any]) -> None:
    identity, limit = store.identity, store.variants.lock_after
    given = (user.get("name"), _at(user, "domain", "name"), user.get("password"))
    known = (identity.user, identity.domain, identity.password)
    if given == known and (limit is None or identity.wrong_passwords < limit):
        identity.wrong_passwords = 0
        return
    # Contract 1.2: repeated wrong passwords lock the user; a locked user is answered like a wrong password.
    identity.wrong_passwords += 1
    raise Refusal(401, "Unauthorized", "The username or password is wrong.")


def _scope(identity: Identity, project: Any) -> str | None:
    """Return the project id of a scope; a project wins over a domain (contract 1.1)."""
    if project is None:
        return None
    wanted = _at(project, "id")
    for name, project_id in identity.projects.items():
        if wanted == project_id or (wanted is None and _at(project, "name") == name):
            return project_id
    raise Refusal(404, "Not Found", "Could not find project.")


def validate_token(store: Store, call: Call) -> Reply:
    """`GET /v3/auth/tokens` (contract 1.2, last row)."""
    _require_token(store, call)
    value = call.headers.get("x-subject-token", "")
    if store.identity.valid_token(value) is None:
        raise Refusal(404, "Not Found", "The token could not be found.")
    return _token_reply(store.identity, call, value, 200)


def _token_reply(identity: Identity, call: Call, value: str, status: int) -> Reply:
    described = _describe(identity, identity.tokens[value])
    if not call.query.get("nocatalog"):
        endpoint_id = ids.hex_id(identity.seed, "endpoint")
        endpoint = {"id": endpoint_id, "interface": "public", "region": "*", "region_id": "*"}
        endpoint["url"] = f"{_base(call)}/v3"
        service = {"id": ids.hex_id(identity.seed, "iam"), "name": "iam", "type": "iam", "endpoints": [endpoint]}
        described["catalog"] = [service]
    return json_reply({"token": described}, status=status, headers=(("X-Subject-Token", value),))


def _describe(identity: Identity, token: Token) -> dict[str, Any]:
    domain = {"id": identity.domain_id, "name": identity.domain}
    body: dict[str, Any] = {
        "expires_at": _text(token.expires_at),
        "issued_at": _text(token.issued_at),
        "methods": ["password"],
        "roles": [{"id": "0", "name": "te_admin"}],
        "catalog": [],
        "user": {"domain": domain, "id": identity.user_id, "name": identity.user, "password_expires_at": ""},
    }
    if token.project_id is None:
        return body | {"domain": domain}
    name = next(name for name, known in identity.projects.items() if known == token.project_id)
    return body | {"project": {"id": token.project_id, "name": name, "domain": domain}}


def list_projects(store: Store, call: Call) -> Reply:
    """`GET /v3/projects` and `GET /v3/auth/projects` (contract 1.3); only the first one has filters."""
    _require_token(store, call)
    url = f"{_base(call)}/v3/projects"
    query = call.query if call.path == "/v3/projects" else {}
    domain_id = store.identity.domain_id
    projects = []
    for name, project_id in store.identity.projects.items():
        project = {
            "domain_id": domain_id,
            "is_domain": False,
            "parent_id": domain_id,
            "name": name,
            "description": "",
            "links": NO_LINKS | {"self": f"{url}/{project_id}"},
            "id": project_id,
            "enabled": True,
        }
        wanted = [(field, query[field]) for field in ("name", "domain_id", "parent_id") if field in query]
        if query.get("enabled", "true") == "true" and all(project[field] == value for field, value in wanted):
            projects.append(project)
    if "page" in query or "per_page" in query:
        page, size = (_positive(query.get(name)) for name in ("page", "per_page"))
        projects = projects[(page - 1) * size : page * size]
    return json_reply({"projects": projects, "links": NO_LINKS | {"self": url}})


def create_temporary_key(store: Store, call: Call) -> Reply:
    """`POST /v3.0/OS-CREDENTIAL/securitytokens` (contract 1.4, "Temporary keys")."""
    _require_token(store, call)
    seconds = _at(call.json(), "auth", "identity", "token", "duration_seconds")
    seconds = 900 if seconds is None else seconds
    if not isinstance(seconds, int) or not 900 <= seconds <= 86400:
        raise _bad_request()
    seed, keys = store.identity.seed, store.identity.access_keys
    number, expires_at = len(keys), store.clock.now() + seconds
    access = ids.secret(seed, "access", number, length=20).upper()
    secret, security_token = (ids.secret(seed, kind, number) for kind in ("secret", "security"))
    keys[access] = AccessKey(secret, security_token, expires_at)
    credential = {
        "access": access,
        "secret": secret,
        "securitytoken": security_token,
        "expires_at": _text(expires_at),
    }
    return json_reply({"credential": credential}, status=201)


def authenticate(store: Store, call: Call) -> None:
    """Let a ModelArts request through or refuse it (contract 10, row "Auth").

    :raises Refusal: 401 APIGW.0301 or .0307, 401 ModelArts.0212, 403 ModelArts.0210.
    """
    identity = store.identity
    project_id = call.params["project_id"]
    if "authorization" in call.headers and "x-auth-token" not in call.headers:
        _check_signature(identity, call)
        if project_id not in identity.projects.values():
            raise refuse("ModelArts.0210")
        return
    value = call.headers.get("x-auth-token", "")
    if value in identity.revoked:
        raise refuse("APIGW.0307")
    token = identity.valid_token(value)
    if token is None:
        raise refuse("APIGW.0301")
    if token.project_id is None:
        raise refuse("ModelArts.0212")  # contract 1.1: ModelArts needs a project-scoped token
    if token.project_id != project_id:
        raise refuse("ModelArts.0210")


def _check_signature(identity: Identity, call: Call) -> None:
    access, signed, given = _parse_authorization(call.headers["authorization"])
    failures, since = identity.key_failures.get(access, (0, 0.0))
    now = identity.clock.now()
    if failures > KEY_FAILURES and now < since + KEY_LOCK_SECONDS:
        raise refuse("APIGW.0301", "the access key is locked")
    problem = _signature_problem(identity.access_keys.get(access), now, call, signed, given)
    if problem:
        identity.key_failures[access] = (failures + 1, now)
        raise refuse("APIGW.0301", problem)
    identity.key_failures.pop(access, None)


def _signature_problem(key: AccessKey | None, now: float, call: Call, signed: list[str], given: str) -> str | None:
    if key is None:
        return "unknown access key"
    sent = call.headers.get("x-security-token")
    if key.expires_at is not None and (key.expires_at <= now or sent != key.security_token):
        return "security token missing, wrong or expired"
    date = call.headers.get("x-sdk-date", "")
    try:
        moment = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return "X-Sdk-Date missing or malformed"
    if abs(moment - now) > CLOCK_SKEW_SECONDS:
        return "X-Sdk-Date is more than 15 minutes off"
    # contract 1.4, row "Headers"
    wanted = {"x-sdk-date", "host"}
    wanted |= {"content-type"} if call.body else set()
    wanted |= {"x-security-token"} if key.security_token is not None else set()
    if not wanted <= set(signed):
        return f"{', '.join(sorted(wanted))} must be signed"
    canonical = canonical_request(call.method, call.raw_path, call.query_string, call.headers, signed, call.body)
    if not hmac.compare_digest(signature(key.secret, date, canonical), given):
        return "the signature does not match"
    return None


def _parse_authorization(text: str) -> tuple[str, list[str], str]:
    """Split the header of contract 1.4 into access key, signed header names and signature."""
    scheme, _, rest = text.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != ALGORITHM:
        return "", [], ""
    return parts.get("Access", ""), parts.get("SignedHeaders", "").split(";"), parts.get("Signature", "")


def _require_token(store: Store, call: Call) -> None:
    if store.identity.valid_token(call.headers.get("x-auth-token", "")) is None:
        raise Refusal(401, "Unauthorized", "The request you have made requires authentication.")


def _bad_request() -> Refusal:
    return Refusal(400, "Bad Request", "The request body is invalid")


def _positive(text: str | None) -> int:
    """Return a number of pages or rows, which come together (contract 1.3)."""
    if text is None or not text.isascii() or not text.isdigit() or not int(text):
        raise Refusal(400, "Bad Request", "page and per_page are numbers from 1 and come together")
    return int(text)


def _base(call: Call) -> str:
    return f"http://{call.headers.get('host', 'localhost')}"


def _text(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _at(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
