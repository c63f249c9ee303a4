"""Sees every request of every life and what people do; complains about what must never happen to a label (B13, B14)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.labeling.raw_samples import without_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.labeling.history import History
    from tests.labeling.lives import Life
    from tests.labeling.raw_samples import Raw

OLDEST_READ = 30.0
"""Seconds that a read allows a write for."""


class Violation(AssertionError):  # noqa: N818 - a violation of an invariant
    """Something that must never happen to a label has happened."""


class Killed(BaseException):
    """The process that confirms has been killed: nothing of it asks or stores anything any more."""


class Referee:
    """Watches one dataset of one history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._known: dict[str, list[Raw]] = {}
        self.touched: dict[str, int] = {}
        """By whom a person or a new labeling task last did something to: the number of that event."""
        self.human: dict[str, list[Raw]] = {}
        """Final labels that people gave and nobody may touch."""
        self.raced: set[str] = set()
        """Written by us although somebody acted between the read and the write: no client can know that."""
        self.prior: dict[str, list[Raw]] = {}
        """Final labels before our first write, or those of a person that a later one replaced."""
        self.ours: dict[str, list[Raw]] = {}
        """Final labels that we wrote last."""
        self._last_write: dict[str, list[Raw]] = {}
        """What a write of ours left, in a race or not, until a person gave other labels."""

    # What people do

    def look(self, *, by_people: bool = True) -> dict[str, list[Raw]]:
        """Take over the final labels as they are, and return what those were that have been set since the last look."""
        changed = {}
        for sample_id, sample in self._history.dataset.samples.items():
            if self._known.get(sample_id) is not sample.labels:
                changed[sample_id] = self._known.get(sample_id, [])
                self._known[sample_id] = sample.labels
                if by_people:
                    self.touch(sample_id, sample.labels)
        return changed

    def begin(self) -> None:
        """Take what is there for given."""
        self.look(by_people=False)

    def touch(self, sample_id: str, labels: list[Raw] | None = None) -> None:
        """Note that a person labeled a sample, or (without labels) that it was proposed once more."""
        self._history.events += 1
        self.touched[sample_id] = self._history.events
        if labels is not None:
            self.human[sample_id] = [dict(label) for label in labels]
            self.raced.discard(sample_id)
            self._last_write.pop(sample_id, None)

    # What is read

    def check_read(
        self,
        life: Life,
        kind: str,
        request: requests.PreparedRequest,
        response: requests.Response,
        at: tuple[float, int],
    ) -> None:
        """Note what a read showed to a life."""
        if kind == "page" and response.status_code == 200:
            filters = parse_qs(urlsplit(request.url or "").query).keys() & {"label_name", "low_score", "high_score"}
            if filters and self._history.emulator.variants.trim_labels_to_filter:
                return
            for raw in json.loads(response.content)["samples"]:
                if raw["sample_id"] not in life.sent:
                    life.shown.setdefault(raw["sample_id"], []).append((*at, raw))
        elif kind in ("proposal", "final"):
            sample_id = (request.path_url.partition("?")[0]).rpartition("/")[2]
            if kind == self._history.shown_by(life):
                life.shown.pop(sample_id, None)
                if response.status_code == 200:
                    life.shown[sample_id] = [(*at, json.loads(response.content))]

    # What is written

    def check_sent(self, life: Life, kind: str, request: requests.PreparedRequest, at: float) -> None:
        """Judge a write by what reads of the last half minute have shown to the life that sends it.

        It is judged when it is sent: how long it is on its way, or its sender frozen, nobody can know. What the client
        sends again with a new token is judged again.
        """
        if kind != "write":
            return
        # A thread of the real pool may stand still between the client's last look and here.
        is_prompt = not self._history.setup.threads
        if is_prompt and life.is_stopped:
            raise Violation("a write goes out although the run was asked to stop")
        for form in _forms(request):
            sample_id = form.get("sample_id")
            if sample_id not in life.shown:
                raise Violation(f"{sample_id} is sent although no read allows it")
            reads = life.shown[sample_id]
            fresh = [read for read in reads if at - read[0] <= OLDEST_READ] if is_prompt else reads
            if not fresh:
                raise Violation(f"{sample_id} is sent on a read {at - reads[-1][0]:.0f} s old")
            # Another thread may have read it again since: the write may rest on any of these.
            event, raw = next(((one[1], one[2]) for one in fresh if _has_labels(one[2], form)), fresh[-1][1:])
            life.allowed[sample_id] = event
            self._history.check_form(life, form, raw)

    def watch(
        self,
        life: Life,
        kind: str,
        request: requests.PreparedRequest,
        have_answered: Callable[[], requests.Response],
    ) -> requests.Response:
        """Have a request carried out, and see what it did."""
        self.look()
        refused = False
        try:
            response = have_answered()
            refused = 400 <= response.status_code < 500
        finally:
            changed = self.look(by_people=kind != "write")
            if kind == "write":
                self._written(life, request, changed)
                if not refused:
                    self._use_up(life, request)
        if kind == "write":
            unchanged = {form["sample_id"] for form in _forms(request)} - changed.keys()
            self._history.note_answer(response, unchanged)
        return response

    @staticmethod
    def _use_up(life: Life, request: requests.PreparedRequest) -> None:
        """What may have been written may go out once more only after a single read of it."""
        for form in _forms(request):
            life.sent.add(form["sample_id"])
            life.shown.pop(form["sample_id"], None)

    def _written(self, life: Life, request: requests.PreparedRequest, changed: dict[str, list[Raw]]) -> None:
        samples = self._history.dataset.samples
        for form in _forms(request):
            sample_id = form["sample_id"]
            if sample_id not in changed:
                continue
            now = [dict(label) for label in samples[sample_id].labels]
            if not _same(now, self._history.as_stored(form["labels"])):
                raise Violation(f"{sample_id}: the service stored {now} for {form['labels']}")
            is_raced = self.touched.get(sample_id, -1) > life.allowed[sample_id]
            by_person = self.human.pop(sample_id, None)
            if is_raced:
                self.raced.add(sample_id)
                if sample_id in self.ours:  # or an earlier write would be taken for the last one
                    self.ours[sample_id] = now
                self._history.note("written in a race")
            elif life.undoes:
                self.ours.pop(sample_id, None)
            else:
                if changed[sample_id] != self._last_write.get(sample_id):
                    self._history.check_before(sample_id, changed[sample_id])
                if by_person or sample_id not in self.prior:
                    self.prior[sample_id] = changed[sample_id]
                self.ours[sample_id] = now
            self._last_write[sample_id] = now


def _forms(request: requests.PreparedRequest) -> list[Raw]:
    body: Any = json.loads(request.body or b"{}")
    forms: list[Raw] = body["samples"]
    return forms


def _has_labels(raw: Raw, form: Raw) -> bool:
    return json.dumps(without_id(raw["labels"])) == json.dumps(without_id(form.get("labels") or []))


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def check_labels(form: Raw, shown: Raw, *, needs_size: bool) -> None:
    """Raise unless what is sent is what was shown (B13): every key, every number as it was written."""
    sample_id, labels = form["sample_id"], form.get("labels")
    if not labels:
        raise Violation(f"{sample_id} is sent without labels")
    if json.dumps(without_id(shown["labels"])) != json.dumps(without_id(labels)):
        raise Violation(f"{sample_id} is sent with labels that no read showed: {labels}, not {shown['labels']}")
    metadata = form.get("metadata") or {}
    if set(metadata) - {"@modelarts:size"} or (needs_size and "@modelarts:size" not in metadata):
        raise Violation(f"{sample_id} is sent with metadata {metadata}")
