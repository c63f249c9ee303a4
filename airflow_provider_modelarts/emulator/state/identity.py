"""One account: its user, projects, tokens and access keys (contract 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator.state import ids

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.clock import EmulatorClock

TOKEN_SECONDS = 24 * 3600  # contract 1.2: valid 24 h
TOKEN_LENGTH = 2048  # contract 1.1: several KB, starts with MII


@dataclass(frozen=True, slots=True)
class Token:
    """An issued token.

    :param project_id: project it is scoped to; None for a domain or unscoped token.
    """

    issued_at: float
    expires_at: float
    project_id: str | None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The secret half of an access key.

    :param security_token: of a temporary key, which ends at `expires_at`.
    """

    secret: str
    security_token: str | None = None
    expires_at: float | None = None


@dataclass(eq=False, repr=False)
class Identity:
    """One account with one user, two projects and one access key.

    :param seed: ids and tokens derive from it.
    :param region: also the name of the built-in project (contract 1.1).
    """

    seed: int
    clock: EmulatorClock
    region: str
    user: str
    password: str
    domain: str
    access_keys: dict[str, AccessKey]
    tokens: dict[str, Token] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    issued: list[str] = field(default_factory=list)
    wrong_passwords: int = 0
    key_failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.domain_id = ids.hex_id(self.seed, "domain")
        self.user_id = ids.hex_id(self.seed, "user")
        other = "cn-east-3" if self.region != "cn-east-3" else "cn-north-1"
        self.projects = {name: ids.hex_id(self.seed, "project", name) for name in (self.region, other)}

    @property
    def project_id(self) -> str:
        """Id of the region's built-in project, the one that holds the datasets."""
        return self.projects[self.region]

    def issue(self, project_id: str | None) -> str:
        """Return a new token for a project; None: without one."""
        now = self.clock.now()
        value = "MII" + ids.secret(self.seed, "token", len(self.issued), length=TOKEN_LENGTH - 3)
        self.tokens[value] = Token(now, now + TOKEN_SECONDS, project_id)
        self.issued.append(value)
        return value

    def valid_token(self, value: str) -> Token | None:
        """Return a token that has not expired; None: there is none."""
        token = self.tokens.get(value)
        return None if token is None or token.expires_at <= self.clock.now() else token

    def revoke(self) -> None:
        """Make every token so far stale: 401 APIGW.0307 (contract 10, "revoke all tokens")."""
        self.revoked.update(self.tokens)
        self.tokens.clear()

    def set_password(self, password: str) -> None:
        """Change the password; tokens die with the old one (contract 1.2)."""
        self.password = password
        self.wrong_passwords = 0
        self.tokens.clear()
