"""Identity: users, projects, tokens and access keys (contract 1)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse, refuse_at_gateway
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply, json_answer
from airflow_provider_modelarts.emulator.http.signing import ALGORITHM, canonical_request, signature
from airflow_provider_modelarts.emulator.state import ids

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.clock import EmulatorClock
    from airflow_provider_modelarts.emulator.variants import Variants

TOKEN_SECONDS = 24 * 3600  # contract 1.2: valid 24 h
TOKEN_LENGTH = 2048  # contract 1.1: several KB, starts with MII
CLOCK_SKEW_SECONDS = 15 * 60  # contract 1.4: X-Sdk-Date within 15 minutes
KEY_FAILURES, KEY_LOCK_SECONDS = 5, 5 * 60  # contract 1.4: more than 5 failures in a row lock the key for 5 minutes


@dataclass(frozen=True, slots=True)
class Token:
    """An issued token.

    :param project_id: project it is scoped to; None for a domain or unscoped token.
    """

    issued_at: float
    expires_at: float
    project_id: str | None
    methods: tuple[str, ...] = ("password",)


def _keystone(status: int, title: str, message: str) -> Refusal:
    return Refusal(status, title, message, shape="keystone")


def _text(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _at(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


class Identity:
    """One account with one user, two projects and one access key.

    :param seed: ids, tokens and the credentials that are not given derive from it.
    :param region: also the name of the built-in project (contract 1.1).
    """

    def __init__(
        self,
        seed: int,
        clock: EmulatorClock,
        variants: Variants,
        *,
        region: str,
        user: str,
        password: str,
        domain: str,
        access_key: str,
        secret_key: str,
    ) -> None:
        self.seed, self.clock, self.variants, self.region = seed, clock, variants, region
        self.user, self.password, self.domain = user, password, domain
        self.access_keys: dict[str, tuple[str, str | None, float | None]] = {access_key: (secret_key, None, None)}
        self.domain_id = ids.hex_id(seed, "domain")
        self.user_id = ids.hex_id(seed, "user")
        other = "cn-east-3" if region != "cn-east-3" else "cn-north-1"
        self.projects = {name: ids.hex_id(seed, "project", name) for name in (region, other)}
        self.tokens: dict[str, Token] = {}
        self.revoked: set[str] = set()
        self.issued: list[str] = []
        self.wrong_passwords = 0
        self._key_failures: dict[str, tuple[int, float]] = {}

    @property
    def project_id(self) -> str:
        """Id of the region's built-in project, the one that holds the datasets."""
        return self.projects[self.region]

    # --- tokens

    def create_token(self, call: Call) -> Reply:
        """`POST /v3/auth/tokens` (contract 1.1)."""
        try:
            body = call.json()
        except Refusal:
            raise _keystone(400, "Bad Request", "The request body is invalid") from None
        methods = _at(body, "auth", "identity", "methods")
        user = _at(body, "auth", "identity", "password", "user")
        if methods != ["password"] or not isinstance(user, dict):
            # MFA and agencies need accounts that the emulator does not play.
            raise _keystone(400, "Bad Request", "The request body is invalid")
        self._check_password(user)
        token = Token(self.clock.now(), self.clock.now() + TOKEN_SECONDS, self._scope(_at(body, "auth", "scope")))
        value = self._issue(token)
        return json_answer(
            {"token": self._describe(token, catalog=not call.query.get("nocatalog"), base=_base(call))},
            status=201,
            headers=(("X-Subject-Token", value),),
        )

    def _check_password(self, user: dict[str, Any]) -> None:
        limit = self.variants.lock_after
        given = (user.get("name"), _at(user, "domain", "name"), user.get("password"))
        if given == (self.user, self.domain, self.password) and (limit is None or self.wrong_passwords < limit):
            self.wrong_passwords = 0
            return
        # Contract 1.2: repeated wrong passwords lock the user; a locked user is answered like a wrong password.
        self.wrong_passwords += 1
        raise _keystone(401, "Unauthorized", "The username or password is wrong.")

    def _scope(self, scope: Any) -> str | None:
        """Return the project id of a scope; a project wins over a domain (contract 1.1)."""
        project = _at(scope, "project")
        if project is None:
            return None
        wanted = _at(project, "id")
        for name, project_id in self.projects.items():
            if wanted == project_id or (wanted is None and _at(project, "name") == name):
                return project_id
        raise _keystone(404, "Not Found", "Could not find project.")

    def _issue(self, token: Token) -> str:
        value = "MII" + ids.secret(self.seed, "token", len(self.issued), length=TOKEN_LENGTH - 3)
        self.tokens[value] = token
        self.issued.append(value)
        return value

    def issue_for(self, project_id: str) -> str:
        """Return a new token for a project."""
        now = self.clock.now()
        return self._issue(Token(now, now + TOKEN_SECONDS, project_id))

    def _describe(self, token: Token, *, catalog: bool, base: str) -> dict[str, Any]:
        domain = {"id": self.domain_id, "name": self.domain}
        body: dict[str, Any] = {
            "expires_at": _text(token.expires_at),
            "issued_at": _text(token.issued_at),
            "methods": list(token.methods),
            "roles": [{"id": "0", "name": "te_admin"}],
            "catalog": [],
            "user": {"domain": domain, "id": self.user_id, "name": self.user, "password_expires_at": ""},
        }
        if catalog:
            endpoint = {
                "id": ids.hex_id(self.seed, "endpoint"),
                "interface": "public",
                "region": "*",
                "region_id": "*",
                "url": f"{base}/v3",
            }
            body["catalog"] = [
                {"id": ids.hex_id(self.seed, "iam"), "name": "iam", "type": "iam", "endpoints": [endpoint]}
            ]
        if token.project_id is None:
            body["domain"] = domain
        else:
            name = next(name for name, known in self.projects.items() if known == token.project_id)
            body["project"] = {"id": token.project_id, "name": name, "domain": domain}
        return body

    def validate_token(self, call: Call) -> Reply:
        """`GET /v3/auth/tokens` (contract 1.2, last row)."""
        self._require_iam_token(call)
        value = call.headers.get("x-subject-token", "")
        token = self.tokens.get(value)
        if token is None or token.expires_at <= self.clock.now():
            raise _keystone(404, "Not Found", "The token could not be found.")
        return json_answer(
            {"token": self._describe(token, catalog=not call.query.get("nocatalog"), base=_base(call))},
            headers=(("X-Subject-Token", value),),
        )

    def list_projects(self, call: Call) -> Reply:
        """`GET /v3/projects` and `GET /v3/auth/projects` (contract 1.3); only the first one has filters."""
        self._require_iam_token(call)
        base = _base(call)
        query = call.query if call.path == "/v3/projects" else {}
        projects = [
            {
                "domain_id": self.domain_id,
                "is_domain": False,
                "parent_id": self.domain_id,
                "name": name,
                "description": "",
                "links": {"next": None, "previous": None, "self": f"{base}/v3/projects/{project_id}"},
                "id": project_id,
                "enabled": True,
            }
            for name, project_id in self.projects.items()
            if query.get("name", name) == name
            and query.get("domain_id", self.domain_id) == self.domain_id
            and query.get("parent_id", self.domain_id) == self.domain_id
            and query.get("enabled", "true") == "true"
        ]
        if "page" in query or "per_page" in query:
            page, size = (_positive(query.get(name)) for name in ("page", "per_page"))
            projects = projects[(page - 1) * size : page * size]
        links = {"next": None, "previous": None, "self": f"{base}/v3/projects"}
        return json_answer({"projects": projects, "links": links})

    def create_temporary_key(self, call: Call) -> Reply:
        """`POST /v3.0/OS-CREDENTIAL/securitytokens` (contract 1.4, "Temporary keys")."""
        self._require_iam_token(call)
        seconds = _at(call.json(), "auth", "identity", "token", "duration_seconds")
        seconds = 900 if seconds is None else seconds
        if not isinstance(seconds, int) or not 900 <= seconds <= 86400:
            raise _keystone(400, "Bad Request", "The request body is invalid")
        number = len(self.access_keys)
        access = ids.secret(self.seed, "access", number, length=20).upper()
        secret_key, security = (ids.secret(self.seed, kind, number) for kind in ("secret", "security"))
        expires_at = self.clock.now() + seconds
        self.access_keys[access] = (secret_key, security, expires_at)
        credential = {
            "access": access,
            "secret": secret_key,
            "securitytoken": security,
            "expires_at": _text(expires_at),
        }
        return json_answer({"credential": credential}, status=201)

    def _require_iam_token(self, call: Call) -> None:
        token = self.tokens.get(call.headers.get("x-auth-token", ""))
        if token is None or token.expires_at <= self.clock.now():
            raise _keystone(401, "Unauthorized", "The request you have made requires authentication.")

    # --- what the gateway asks

    def authenticate(self, call: Call) -> None:
        """Let a ModelArts request through or refuse it (contract 10, row "Auth").

        :raises Refusal: 401 APIGW.0301 or .0307, 401 ModelArts.0212, 403 ModelArts.0210.
        """
        project_id = call.params["project_id"]
        if "authorization" in call.headers and "x-auth-token" not in call.headers:
            self._check_signature(call)
            if project_id not in self.projects.values():
                raise refuse("0210")
            return
        value = call.headers.get("x-auth-token", "")
        if value in self.revoked:
            raise self._refuse("0307")
        token = self.tokens.get(value)
        if token is None or token.expires_at <= self.clock.now():
            raise self._refuse("0301")
        if token.project_id is None:
            raise refuse("0212")  # contract 1.1: ModelArts needs a project-scoped token
        if token.project_id != project_id:
            raise refuse("0210")

    def _refuse(self, suffix: str, detail: str | None = None) -> Refusal:
        return refuse_at_gateway(suffix, detail, prefix=self.variants.code_prefix)

    def _check_signature(self, call: Call) -> None:
        access, signed, given = _parse_authorization(call.headers["authorization"])
        failures, since = self._key_failures.get(access, (0, 0.0))
        now = self.clock.now()
        if failures > KEY_FAILURES and now < since + KEY_LOCK_SECONDS:
            raise self._refuse("0301", "the access key is locked")
        problem = self._signature_problem(call, access, signed, given)
        if problem:
            self._key_failures[access] = (failures + 1, now)
            raise self._refuse("0301", problem)
        self._key_failures.pop(access, None)

    def _signature_problem(self, call: Call, access: str, signed: list[str], given: str) -> str | None:
        if access not in self.access_keys:
            return "unknown access key"
        secret_key, security, expires_at = self.access_keys[access]
        now = self.clock.now()
        if expires_at is not None and (expires_at <= now or call.headers.get("x-security-token") != security):
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
        wanted |= {"x-security-token"} if security is not None else set()
        if not wanted <= set(signed):
            return f"{', '.join(sorted(wanted))} must be signed"
        canonical = canonical_request(call.method, call.raw_path, call.query_string, call.headers, signed, call.body)
        if not hmac.compare_digest(signature(secret_key, date, canonical), given):
            return "the signature does not match"
        return None

    # --- what tests do to it

    def revoke(self) -> None:
        """Make every token so far stale: 401 APIGW.0307 (contract 10, "revoke all tokens")."""
        self.revoked.update(self.tokens)
        self.tokens.clear()

    def expire(self, value: str) -> None:
        """Forget one token: 401 APIGW.0301."""
        self.tokens.pop(value, None)

    def set_password(self, password: str) -> None:
        """Change the password; tokens die with the old one (contract 1.2)."""
        self.password = password
        self.wrong_passwords = 0
        self.tokens.clear()


def _positive(text: str | None) -> int:
    """Return a number of pages or rows, which come together (contract 1.3)."""
    if text is None or not text.isascii() or not text.isdigit() or not int(text):
        raise _keystone(400, "Bad Request", "page and per_page are numbers from 1 and come together")
    return int(text)


def _base(call: Call) -> str:
    return f"http://{call.headers.get('host', 'localhost')}"


def _parse_authorization(text: str) -> tuple[str, list[str], str]:
    """Split the header of contract 1.4 into access key, signed header names and signature."""
    scheme, _, rest = text.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != ALGORITHM:
        return "", [], ""
    return parts.get("Access", ""), parts.get("SignedHeaders", "").split(";"), parts.get("Signature", "")
