"""The members' copies in a team task as they were read, and what several tries of one write know of them.

A write replaces what a copy holds, whoever put it there (contract 4.1). A retry of Airflow comes minutes after the try
before it, and in between members work. So before the first write the tries note what each copy was; a later try leaves
alone what is not as it was, as somebody else has changed it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol
from zlib import compress, decompress

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import ServiceUnavailable
from airflow_provider_modelarts.client.models import to_objects
from airflow_provider_modelarts.client.states import SampleStatus
from airflow_provider_modelarts.labeling.label_equality import labels_identity, raw_labels
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample

FRESH_SECONDS = 25.0
"""The last read of the team task may be so old when a write goes out, as for proposals (B14)."""
REREADS = 5
"""The team task is read again so often in a row without a write; then the try ends."""
_BEFORE, _SENT = "modelarts_team_before", "modelarts_team_sent"
_BYTES = 4
"""Length of a fingerprint: one change in 4,000,000,000 goes unnoticed, and 10,000 copies take 54 KB at most (B18)."""

Verdict = Literal["as before", "changed", "unclear"]


class Copies:
    """The copies of some samples of a team task, read at most 25 s before each write.

    :param client: the client to use
    :param dataset_id: the dataset
    :param task_id: the team task, which is read as a whole
    :param elements: name the samples
    :raises ModelArtsError: if the team task cannot be read
    """

    def __init__(
        self, client: ModelArtsClient, dataset_id: str, task_id: str, elements: Iterable[Mapping[str, Any]]
    ) -> None:
        self.client, self.dataset_id, self.task_id = client, dataset_id, task_id
        self._sample_ids = {element["sample_id"] for element in elements}
        self._rereads = 0
        self.read()

    def read(self) -> None:
        """Read the team task."""
        self._by_sample: dict[str, list[TeamSample]] = defaultdict(list)
        for copy in self.client.team_samples.list(self.dataset_id, self.task_id):
            if copy.sample_id in self._sample_ids:
                self._by_sample[copy.sample_id].append(copy)
        self._read_at = system_clock.now()

    def check_fresh(self) -> None:
        """Check when a request is about to go out: it may have waited for the service.

        :raises HeldBack: if the last read is too old
        """
        if system_clock.now() - self._read_at > FRESH_SECONDS:
            raise HeldBack

    def read_again(self) -> None:
        """Read the team task once more, as the last read was too old.

        :raises ServiceUnavailable: if that has happened too often since a request went out
        """
        if self._rereads >= REREADS:
            raise ServiceUnavailable(
                f"Team task {self.task_id} of dataset {self.dataset_id} could not be written to: the service let no "
                f"write in, and each time what was read before had become too old ({REREADS} times in a row). "
                "Run the task again later.",
                sent=False,
            )
        self._rereads += 1
        self.read()

    def note_request(self) -> None:
        """Note that the service has let a request in."""
        self._rereads = 0

    def find(self, element: Mapping[str, Any], email: str | None = None) -> TeamSample | None:
        """Return the copy that is meant: the named member's, or the only one; None if there is none, or several.

        :param element: names the sample, and by ``worker_id`` the member
        :param email: the member, where ``element`` names none
        """
        found = self.all_meant(element, email)
        return found[0] if len(found) == 1 else None

    def all_meant(self, element: Mapping[str, Any], email: str | None = None) -> list[TeamSample]:
        """Return all copies that may be meant; parameters as of :meth:`find`."""
        return [copy for copy in self._by_sample.get(element["sample_id"], ()) if _is_meant(element, copy, email)]


def _is_meant(element: Mapping[str, Any], copy: TeamSample, email: str | None) -> bool:
    worker_id = element.get("worker_id")
    if worker_id or not email:
        return not worker_id or copy.worker_id == worker_id
    return any(worker.get("email") == email for worker in to_objects(copy.raw.get("labelers")))


def is_labeled(copy: TeamSample) -> bool:
    """Whether somebody has labeled a copy; what the machine proposes to a member is shown as labels, too."""
    return copy.sample_status != SampleStatus.UNLABELED and bool(raw_labels(copy))


def fingerprint_of(copy: TeamSample | None, *more: object) -> bytes:
    """Return what stands for the labels of a copy, and for whether they are final; all zero for a copy not found.

    :param more: what else it stands for, JSON
    """
    if copy is None:
        return bytes(_BYTES)
    state = json.dumps([copy.sample_status, labels_identity(copy), *more])
    return blake2b(state.encode(), digest_size=_BYTES).digest()


class Notes(Protocol):
    """Keeps JSON from one try to the next."""

    def get(self, key: str) -> Any:
        """Return what was stored under a key, None for nothing."""

    def set(self, key: str, value: Any) -> None:
        """Store JSON under a key; it raises if this try has been replaced by another one."""


@dataclass(frozen=True)
class Tries:
    """Which try of a write this is, and what it shares with the others.

    :param is_first: whether no earlier try can have written
    :param intent: what retries have in common; a clear makes another one, and with it a new first try
    :param notes: None: nothing is kept between tries
    """

    is_first: bool = True
    intent: str = ""
    notes: Notes | None = None


@dataclass
class WriteHistory:
    """What earlier tries of one write have left.

    :param before: by position the fingerprint of each copy before the first try; None: nobody knows
    :param sent: positions of the copies that were certainly written; what became of these later is others' work
    :param tries: this try among the others
    """

    before: Sequence[bytes] | None
    tries: Tries
    asked: str
    sent: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, tries: Tries, asked: Any, now: Sequence[bytes]) -> WriteHistory:
        """Return the history of a write; in a first try it begins, and is stored before anything is written.

        :param tries: this try among the others
        :param asked: what is to be written, JSON: in a retry it has to be the same
        :param now: by position the fingerprint of each copy
        """
        asked = blake2b(json.dumps([tries.intent, asked], sort_keys=True).encode(), digest_size=16).hexdigest()
        notes = tries.notes
        if notes is None:
            return cls(now if tries.is_first else None, tries, asked)
        kept = notes.get(_BEFORE)
        if isinstance(kept, dict) and kept.get("intent") == tries.intent:
            if kept.get("asked") != asked:
                return cls(None, tries, asked)
            return cls(_fingerprints(kept["copies"]), tries, asked, _positions(notes.get(_SENT), asked))
        history = cls(now, tries, asked)
        notes.set(_BEFORE, {"intent": tries.intent, "asked": asked, "copies": _packed(b"".join(now))})
        return history

    def judge(self, position: int, now: bytes) -> Verdict:
        """Return what is known of a copy that is not as asked: ``unclear`` if nobody knows what it was before."""
        if self.before is None:
            return "unclear"
        return "changed" if position in self.sent or self.before[position] != now else "as before"

    def mark_sent(self, positions: Iterable[int]) -> None:
        """Store that copies were written: what they are later, somebody else has made of them."""
        new = set(positions) - self.sent
        self.sent |= new
        if self.tries.notes is None or self.before is None or not new:
            return
        flags = bytes(1 if position in self.sent else 0 for position in range(len(self.before)))
        self.tries.notes.set(_SENT, {"asked": self.asked, "copies": _packed(flags)})


def _packed(data: bytes) -> str:
    return b64encode(compress(data)).decode("ascii")


def _fingerprints(packed: str) -> list[bytes]:
    data = decompress(b64decode(packed))
    return [data[start : start + _BYTES] for start in range(0, len(data), _BYTES)]


def _positions(kept: Any, asked: str) -> set[int]:
    if not isinstance(kept, dict) or kept.get("asked") != asked:
        return set()
    return {position for position, flag in enumerate(decompress(b64decode(kept["copies"]))) if flag}
