"""Remembers refused passwords for all processes of a machine, so that a hundred of them do not lock the user."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import AuthenticationError
from airflow_provider_modelarts.client.forks import in_each_child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.client.auth.credentials import PasswordCredentials
    from airflow_provider_modelarts.client.clock import Clock

REMEMBERED = 10 * 60
"""Seconds for which a refusal holds, in this process and others: IAM may be told the password meanwhile, and nobody
restarts a triggerer."""

LONGEST_TURN = 10.0
"""Seconds for which a process waits for others that ask IAM for the same user: a slow IAM must not make a hundred
tasks wait for minutes."""

_LOOK_EVERY = 0.05
_DIGEST_BYTES = 8

_locked: weakref.WeakSet[FileIO] = weakref.WeakSet()


def _close_locked() -> None:
    """Close what a forked child got of its parent's locks: they would outlive a parent that is killed."""
    for file in list(_locked):
        file.close()


in_each_child(_close_locked)


def _default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"modelarts-refused-{_user()}"


def _user() -> int | None:
    """Return the number of the user whose process this is; None on Windows, where files do not say whose they are."""
    return os.getuid() if hasattr(os, "getuid") else None


@dataclass(frozen=True)
class SharedRefusals:
    """Refused passwords that the processes of one user of this machine tell each other.

    Airflow runs each task in a process of its own: without this a hundred mapped tasks would send a wrong password a
    hundred times. A file per IAM user holds the service's answer and a short, salted, slow hash of the password; it
    is readable for its owner alone. Another, which stays empty, is locked by the process that is asking, so that those
    that begin in the same moment hear of its refusal. All of it is best effort: where no file can be kept, as on
    Windows, each process asks itself.

    :param folder: where the files lie; default: one of this user's own in the system's folder for temporary files
    """

    folder: Path = field(default_factory=_default_folder)

    @contextmanager
    def turn(self, credentials: PasswordCredentials, clock: Clock) -> Iterator[None]:
        """Wait until no other process asks for the same user, and keep others waiting for as long as this is entered.

        After :data:`LONGEST_TURN`, and where no file can be locked, it goes on all the same.

        :param credentials: the user
        :param clock: sleeps between looks
        """
        file = self._lockable(credentials)
        if file is None:
            yield
            return
        with file:  # a process that dies lets go as well
            try:
                for _ in range(round(LONGEST_TURN / _LOOK_EVERY)):
                    if _lock(file):
                        break
                    clock.sleep(_LOOK_EVERY)
                yield
            finally:
                _unlock(file)

    def recall(self, credentials: PasswordCredentials, now: float) -> AuthenticationError | None:
        """Return the refusal of just this password, or None.

        :param credentials: user and password
        :param now: epoch seconds
        """
        try:
            if not self._is_private():
                return None
            entry = json.loads(self._file(credentials).read_text())
            digest = _digest(credentials.password, bytes.fromhex(entry["salt"]))
            if not 0 <= entry["until"] - now <= REMEMBERED or not hmac.compare_digest(digest, entry["digest"]):
                return None
            return AuthenticationError(entry["message"], **entry["details"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, credentials: PasswordCredentials, error: AuthenticationError, now: float) -> None:
        """Tell the other processes that this password was refused.

        :param credentials: user and password
        :param error: the refusal
        :param now: epoch seconds
        """
        salt = os.urandom(16)
        entry: dict[str, Any] = {
            "until": now + REMEMBERED,
            "salt": salt.hex(),
            "digest": _digest(credentials.password, salt),
            "message": error.message,
            "details": error.details(),
        }
        try:
            if not self._is_made():
                return
            with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
                json.dump(entry, file)
            Path(file.name).replace(self._file(credentials))
        except OSError:
            return

    def forget(self, credentials: PasswordCredentials) -> None:
        """Drop what is remembered of a user, because a password of theirs was accepted or a person wants to try.

        :param credentials: the user
        """
        try:
            if self._is_private():
                self._file(credentials).unlink(missing_ok=True)
        except OSError:
            return

    def _file(self, credentials: PasswordCredentials, suffix: str = "json") -> Path:
        name = json.dumps([credentials.iam_endpoint, credentials.domain, credentials.user])
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.{suffix}"

    def _lockable(self, credentials: PasswordCredentials) -> FileIO | None:
        """Open the file that is locked; it is never removed, or two processes could each lock one of that name."""
        try:
            if not self._is_made():
                return None
            path = self._file(credentials, "lock")
            file = FileIO(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
        except OSError:
            return None
        _locked.add(file)
        return file

    def _is_made(self) -> bool:
        """Make the folder if need be; return whether it may be used."""
        if _user() is None:
            return False
        self.folder.mkdir(mode=0o700, exist_ok=True)
        return self._is_private()

    def _is_private(self) -> bool:
        """Whether the folder is a real one of ours: others may write into the folder that it lies in."""
        try:
            found = self.folder.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == _user() and not found.st_mode & 0o077


def _lock(file: FileIO) -> bool:
    """Lock a file; return False if it is worth another try."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, ImportError):
        return True  # there are no locks here: nothing to wait for
    return True


def _unlock(file: FileIO) -> None:
    """Let go of a file for certain: to close it does not if a process that was forked meanwhile has it open too."""
    _locked.discard(file)
    if file.closed:  # this is such a process
        return
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
    except (OSError, ImportError):
        return


def _digest(password: str, salt: bytes) -> str:
    """Return a hash that is slow to guess from and too short to prove a guess."""
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=2**14, r=8, p=1, dklen=_DIGEST_BYTES).hex()
