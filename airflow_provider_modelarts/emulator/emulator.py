"""The emulator: the class that users start, fill and look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_modelarts.emulator.api.console import PATH as CONSOLE
from airflow_provider_modelarts.emulator.clock import EmulatorClock
from airflow_provider_modelarts.emulator.data import loading
from airflow_provider_modelarts.emulator.http.faults import Faults
from airflow_provider_modelarts.emulator.http.gateway import Gateway
from airflow_provider_modelarts.emulator.http.journal import Journal, Record
from airflow_provider_modelarts.emulator.http.server import HttpServer
from airflow_provider_modelarts.emulator.inspection import InspectedDataset
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.documents import Presigner
from airflow_provider_modelarts.emulator.state.identity import AccessKey, Identity
from airflow_provider_modelarts.emulator.state.store import Store
from airflow_provider_modelarts.emulator.variants import Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

REGION = "cn-north-4"
CONNECTION_VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"
"""Where Airflow looks for the connection that the package takes by default."""


class Emulator:
    """A local ModelArts and IAM: a real HTTP server in a thread of its own.

    Used as a context manager, or with :meth:`start` and :meth:`stop`. Everything that is drawn comes from the seed.

    :param seed: of ids, credentials, the draw of labeled images and of synthetic data.
    :param port: 0 takes a free one.
    :param host: address to listen on.
    :param task_seconds: how long a labeling task takes, in seconds of the clock.
    :param clock: another clock than one of its own.
    :param user: IAM user; like the next five by default random-looking and derived from the seed.
    :param password: of the user.
    :param domain: account of the user.
    :param access_key: of the user.
    :param secret_key: of the user.
    :param signature: how the signatures of presigned URLs start, for tests that look for leaks.
    :param region: region, and name of the project that holds the datasets.

    Attributes: `clock`, `faults`, `variants`, `journal`, and `observers`, a list of functions that are called with
    the :class:`~.http.journal.Record` of each exchange, in the server's thread.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        task_seconds: float = 6.0,
        clock: EmulatorClock | None = None,
        user: str | None = None,
        password: str | None = None,
        domain: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        signature: str | None = None,
        region: str = REGION,
    ) -> None:
        self.seed = seed
        self.region = region
        self._task_seconds = task_seconds
        self.user = user or f"user-{ids.secret(seed, 'user', length=6)}"
        self.domain = domain or f"domain-{ids.secret(seed, 'domain', length=6)}"
        self._first_password = password or ids.secret(seed, "password", length=24)
        self.access_key = access_key or ids.secret(seed, "access_key", length=20).upper()
        self.secret_key = secret_key or ids.secret(seed, "secret_key", length=40)
        self._signature = signature or ids.secret(seed, "signature", length=16)
        self.clock = clock or EmulatorClock()
        self.variants = Variants()
        self.faults = Faults()
        self.journal = Journal()
        self.observers: list[Callable[[Record], None]] = []
        self._server = HttpServer(host, port)
        self._store = self._new_store()

    def _new_store(self) -> Store:
        keys = {self.access_key: AccessKey(self.secret_key)}
        identity = Identity(
            self.seed, self.clock, self.region, self.user, self._first_password, self.domain, access_keys=keys
        )
        presigner = Presigner(self.seed, self.access_key, self._signature)
        return Store(self.seed, self.clock, self.variants, identity, presigner, self._task_seconds)

    def __repr__(self) -> str:
        return f"<Emulator {self.url} seed={self.seed}>"

    # --- life

    def start(self) -> Self:
        """Start serving; returns when requests are answered.

        :raises RuntimeError: it runs already.
        :raises OSError: the port is taken.
        """
        gateway = Gateway(
            lambda: self._store,
            self.faults,
            self.journal,
            self.observers,
            drop=self._server.drop,
            place=lambda: self.url,
        )
        self._server.start(gateway)
        return self

    def stop(self) -> None:
        """Stop serving. The data stay; :meth:`start` serves them again at the same address."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget datasets, tokens, faults, variants, journal and changes of the password; clock and port stay."""
        with self._store.lock:
            self.faults.clear()
            self.variants.reset()
            self.journal.clear()
            self._store = self._new_store()

    # --- where and who

    @property
    def url(self) -> str:
        """Address of both IAM and ModelArts."""
        return self._server.url

    @property
    def password(self) -> str:
        """Password of the user, as it is now."""
        return self._store.identity.password

    @property
    def project_id(self) -> str:
        """Id of the project that holds the datasets."""
        return self._store.identity.project_id

    @property
    def project_name(self) -> str:
        """Name of that project, which is the region's."""
        return self.region

    @property
    def other_project_name(self) -> str:
        """Name of a second project of the user, without datasets."""
        return next(name for name in self._store.identity.projects if name != self.region)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every token that was issued."""
        return tuple(self._store.identity.issued)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not show up anywhere: password, keys, tokens, and how presigned signatures start."""
        return (self.password, self.secret_key, self._signature, *self.tokens)

    @property
    def connection(self) -> dict[str, Any]:
        """Fields of an Airflow connection with user and password."""
        return self.connection_for("password")

    @property
    def connection_with_console(self) -> dict[str, Any]:
        """The connection of :attr:`connection` whose tasks link to the page of their dataset."""
        connection = self.connection
        return connection | {"extra": connection["extra"] | {"console": self.url + CONSOLE + "{dataset_id}"}}

    def page_of(self, dataset_id: str) -> str:
        """Return the address of a page that shows a dataset in a browser."""
        return f"{self.url}{CONSOLE}{dataset_id}"

    def connection_for(self, auth: str) -> dict[str, Any]:
        """Return the fields of an Airflow connection.

        :param auth: "password", "access_key" or "token" (which issues a new token).
        """
        project = {"project_id": self.project_id}
        if auth == "password":
            login, password = self.user, self.password
            project = {"domain_name": self.domain, "project_name": self.region}
        elif auth == "access_key":
            login, password = self.access_key, self.secret_key
        elif auth == "token":
            login, password = "", self.issue_token()
        else:
            raise ValueError(f"auth is password, access_key or token, not {auth!r}")
        extra = {"auth": auth, "region": self.region, "iam_endpoint": self.url, **project}
        return {"conn_type": "modelarts", "host": self.url, "login": login, "password": password, "extra": extra}

    @property
    def connection_json(self) -> str:
        """The connection as text for an `AIRFLOW_CONN_...` variable."""
        return json.dumps(self.connection)

    # --- data

    def load_digits(self, labeled: int = 150) -> str:
        """Make a dataset of 1,797 handwritten digits.

        :param labeled: how many are labeled; the seed draws which.
        :returns: its id.
        """
        with self._store.lock:
            return loading.load_digits(self._store, labeled).dataset_id

    def load_folder(self, path: str | Path) -> str:
        """Make a dataset of a folder of images.

        :param path: sub-folders are named after labels; `unlabeled/` and the folder itself are unlabeled.
        :returns: its id.
        :raises ValueError: there is no image in it.
        """
        with self._store.lock:
            return loading.load_folder(self._store, Path(path)).dataset_id

    def load_proposals(
        self,
        n: int,
        *,
        labels: Sequence[str] = loading.DEFAULT_LABELS,
        kind: str = "classification",
        hard_share: float = 0.1,
        seed: int = 0,
    ) -> str:
        """Make a dataset of `n` samples that all await confirmation, as fast as possible and without images.

        :param labels: names to draw from.
        :param kind: "classification" (one label), "multi_label" (one to three, with attributes) or "detection"
            (one to four boxes).
        :param hard_share: share of hard examples.
        :param seed: draws other data with the same emulator.
        :returns: its id.
        """
        with self._store.lock:
            made = loading.load_proposals(self._store, n, labels=labels, kind=kind, hard_share=hard_share, seed=seed)
            return made.dataset_id

    def load_samples(self, dataset_type: int, n: int, *, labeled: int = 0) -> str:
        """Make a dataset of `n` made-up texts, sounds or tables.

        :param dataset_type: type of contract 6.1: 100, 101 or 102 (texts), 200, 201 or 202 (sounds), 400 (tables).
        :param labeled: how many of them a person has labeled, with labels as that type has them; tables have none.
        :returns: its id.
        :raises ValueError: another type, or more labeled than there are.
        """
        with self._store.lock:
            return loading.load_samples(self._store, dataset_type, n, labeled=labeled).dataset_id

    def dataset(self, dataset_id: str) -> InspectedDataset:
        """Return a dataset to look at and to act on as a person.

        :raises KeyError: unknown id.
        """
        return InspectedDataset(self._store, self._store.datasets[dataset_id])

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of all datasets, oldest first."""
        return tuple(self._store.datasets)

    def truth(self, dataset_id: str) -> dict[str, Any]:
        """Return what each sample really shows, where that is known: sample id -> label (or list of labels)."""
        samples = self._store.datasets[dataset_id].samples.values()
        return {sample.sample_id: sample.truth for sample in samples if sample.truth is not None}

    def create_team_task(
        self,
        dataset_id: str,
        emails: Iterable[str] = ("labeler@example.com",),
        *,
        sample_ids: Iterable[str] = (),
        reviewers: Iterable[str] = (),
    ) -> str:
        """Make a team labeling task that runs, in which each labeler has a copy of each sample.

        :param emails: the labelers.
        :param sample_ids: which samples; none given: all.
        :param reviewers: who reviews; none given: labels wait for acceptance without a review.
        :returns: its id.
        """
        made = self.dataset(dataset_id)
        return made.create_team_task(tuple(emails), tuple(sample_ids), reviewers=tuple(reviewers))

    def put_images(self, folder: str, count: int, *, label: str | None = None, hard: bool = False) -> tuple[str, ...]:
        """Put images into the object storage, as somebody else does: a dataset has them after an import of the folder.

        :param folder: "/bucket/folder/".
        :param label: annotated beside each of them; None: nothing is.
        :param hard: whether the annotation calls them hard examples.
        :returns: their paths.
        """
        with self._store.lock:
            files = loading.put_images(self._store, folder, count, label=label, hard=hard)
        return tuple(file.path for file in files)

    def put_files(self, folder: str, contents: Mapping[str, str | bytes]) -> tuple[str, ...]:
        """Put texts, sounds, tables or other files into the object storage, as somebody else does.

        :param folder: "/bucket/folder/"; a dataset has them after an import of it, or if it is its own input folder
            after a synchronization.
        :param contents: name and content of each file; text is stored as UTF-8.
        :returns: their paths.
        """
        with self._store.lock:
            files = loading.put_files(self._store, folder, contents)
        return tuple(file.path for file in files)

    def add_images(self, dataset_id: str, count: int, *, label: str | None = None) -> tuple[str, ...]:
        """Put images into the input folder of a dataset; it has them after its next synchronization.

        :param label: as of :meth:`put_images`.
        :returns: their paths.
        """
        return self.put_images(self._store.datasets[dataset_id].data_path, count, label=label)

    # --- behaviour

    @property
    def task_seconds(self) -> float:
        """How long the next labeling tasks take; may be set."""
        return self._store.task_seconds

    @task_seconds.setter
    def task_seconds(self, seconds: float) -> None:
        self._store.task_seconds = seconds

    @property
    def team_seconds(self) -> float:
        """How long team tasks take to start, to draw samples and to carry over accepted labels; may be set."""
        return self._store.team_seconds

    @team_seconds.setter
    def team_seconds(self, seconds: float) -> None:
        self._store.team_seconds = seconds

    @property
    def team_member(self) -> str | None:
        """E-mail address of the team member whose requests come in; None: the owner's. May be set."""
        return self._store.member

    @team_member.setter
    def team_member(self, email: str | None) -> None:
        self._store.member = email

    @property
    def job_seconds(self) -> float:
        """How long the next publications, imports, exports and synchronizations take; may be set."""
        return self._store.job_seconds

    @job_seconds.setter
    def job_seconds(self, seconds: float) -> None:
        self._store.job_seconds = seconds

    def issue_token(self) -> str:
        """Return a new project token, as if it had been asked for over HTTP."""
        with self._store.lock:
            return self._store.identity.issue(self.project_id)

    def revoke_tokens(self) -> None:
        """Make all tokens stale: 401 APIGW.0307."""
        with self._store.lock:
            self._store.identity.revoke()

    def set_password(self, new: str) -> None:
        """Change the user's password; tokens die with the old one."""
        with self._store.lock:
            self._store.identity.set_password(new)
