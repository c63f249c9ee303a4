"""A small in-memory model of the service's list of proposals, and a referee that sees every request.

It plays the client (pages, single reads, writes) for simulations in which other people and faults interleave with
every request, at any size and speed. Its referee knows what nobody else can: what had been shown when a write
arrived. The emulator remains the place where requests are real.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    Throttled,
)
from airflow_provider_modelarts.client.resources.samples import Page, Sample
from airflow_provider_modelarts.client.sample_updates import SampleOutcome, labeled_elements, send_updates

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

DATASET = "dataset-of-the-model"
OLDEST_READ = 30.0
Raw = dict[str, Any]


class Violation(AssertionError):  # noqa: N818 - a referee calls a violation
    """Something that must never happen to a label has happened."""


class Killed(BaseException):
    """The process that confirms has been killed: nothing of it asks or stores anything any more."""


def raw_sample(number: int, labels: list[Raw], **more: Any) -> Raw:
    return {"sample_id": f"{number:032x}" if number % 5 else f"sample {number}", "labels": labels, **more}


def raw_label(name: str = "rose", **more: Any) -> Raw:
    return {"name": name, "type": 0, "id": "1", "score": 0.9, "property": {"@modelarts:hard": "false"}, **more}


def without_id(labels: Sequence[Raw]) -> list[Raw]:
    return [{key: value for key, value in label.items() if key != "id"} for label in labels]


def stored(labels: Sequence[Raw]) -> list[Raw]:
    return [{key: label[key] for key in ("name", "type", "property") if key in label} for label in labels]


class ModelClock:
    """Time that passes only when somebody lets it."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0
        self.suspend: Callable[[float], bool] = lambda until: False
        """Lets a thread sleep while others go on; false if the caller is none of those that can."""

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        until = self.time + max(seconds, 0)
        if not self.suspend(until):
            self.time = until


@dataclass
class Referee:
    """Sees every read and write; complains about a write that nothing read just before allows (B13, B14)."""

    shown: dict[str, tuple[float, list[Raw]]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    written: dict[str, list[Raw]] = field(default_factory=dict)
    human: dict[str, list[Raw]] = field(default_factory=dict)
    raced: set[str] = field(default_factory=set)

    def show(self, raw: Raw, at: float, *, singly: bool) -> None:
        if singly or raw["sample_id"] not in self.sent:
            self.shown[raw["sample_id"]] = at, deepcopy(raw["labels"])

    def show_absence(self, sample_id: str) -> None:
        self.shown.pop(sample_id, None)

    def check_write(self, form: Raw, at: float) -> None:
        sample_id, labels = form.get("sample_id"), form.get("labels")
        if not labels:
            raise Violation(f"{sample_id} was sent without labels")
        if sample_id not in self.shown:
            raise Violation(f"{sample_id} was sent although no read since allows it")
        when, seen = self.shown.pop(sample_id)
        if at - when > OLDEST_READ:
            raise Violation(f"{sample_id} was sent on a read {at - when:.0f} s old")
        if json.dumps(without_id(seen), sort_keys=True) != json.dumps(without_id(labels), sort_keys=True):
            raise Violation(f"{sample_id} was sent with labels that no read showed: {labels} instead of {seen}")
        if set(form.get("metadata", {})) - {"@modelarts:size"}:
            raise Violation(f"{sample_id} was sent with metadata {form['metadata']}")
        self.sent.add(sample_id)


class ModelService:
    """The service, and the client of it.

    :param proposals: raw samples, oldest first
    :param rng: decides what happens in between; None: nothing does
    :param by_record: whether ``offset`` counts records
    :param trims: whether a filtered list shows only the matching labels
    :param latency: seconds that a request takes at most
    :param before_request: called before each request is carried out, with its kind
    """

    def __init__(
        self,
        proposals: Sequence[Raw],
        rng: random.Random | None = None,
        *,
        by_record: bool = False,
        trims: bool = False,
        latency: float = 0.0,
        before_request: Callable[[str], None] | None = None,
    ) -> None:
        self.listed: list[Raw] = deepcopy(list(proposals))
        self.final: dict[str, list[Raw]] = {}
        self.rng = rng
        self.by_record = by_record
        self.trims = trims
        self.latency = latency
        self.before_request = before_request or (lambda kind: None)
        self.give_way: Callable[[], None] = lambda: None
        self.is_caller_dead = False
        self.clock = ModelClock()
        self.referee = Referee()
        self.journal: list[str] = []
        self.write_faults: list[str] = []
        self.read_faults: list[str] = []
        self.slow_tokens: list[float] = []
        """Seconds that it takes to get a token for the next write."""
        self.fired: list[str] = []
        self.bad: dict[str, str] = {}
        self.busy_until = 0.0
        self.results = "positional"

    # What others do

    def edit(self, sample_id: str, labels: list[Raw]) -> None:
        """A person labels a sample, or takes its labels away."""
        self.listed = [raw for raw in self.listed if raw["sample_id"] != sample_id]
        self.final[sample_id] = stored(labels)
        self.referee.human[sample_id] = stored(labels)
        self.referee.raced.discard(sample_id)

    def propose(self, raw: Raw, *, at_end: bool) -> None:
        """A new proposal appears at an end of the list."""
        self.listed.insert(len(self.listed) if at_end else 0, deepcopy(raw))

    # What the client asks

    def begin(self, kind: str) -> float:
        read_at = self.clock.now()
        self.give_way()
        if self.is_caller_dead:
            raise Killed
        self.journal.append(kind)
        if self.rng is not None and self.latency:
            self.clock.sleep(self.rng.random() * self.latency)
        self.before_request(kind)
        if kind not in ("update", "status") and self.read_faults:
            self.fired.append(self.read_faults.pop())
            raise ServiceUnavailable("The model does not answer.", status=503)
        return read_at

    def page(
        self, dataset_id: str, number: int, *, limit: int, order: str, retry: bool = True, **filters: Any
    ) -> Page[Sample]:
        assert (dataset_id, order) == (DATASET, "asc")
        read_at = self.begin("page")
        matching = [shown for raw in self.listed if (shown := self._filtered(raw, filters))]
        start = number if self.by_record else number * limit
        items = deepcopy(matching[start : start + limit])
        for raw in items:
            if not (self.trims and filters):
                self.referee.show(raw, self.clock.now(), singly=False)
        total = len(matching)
        self.give_way()
        return Page([Sample(raw) for raw in items], total, number, read_at)

    def _filtered(self, raw: Raw, filters: dict[str, Any]) -> Raw | None:
        name = filters.get("label_name")
        if name is None:
            return raw
        matching = [label for label in raw["labels"] if label["name"] == name]
        return {**raw, "labels": matching if self.trims else raw["labels"]} if matching else None

    def update(
        self,
        dataset_id: str,
        samples: Sequence[Sample],
        *,
        retry: bool,
        before_sending: Callable[[], None] | None = None,
    ) -> Sequence[SampleOutcome]:
        assert (dataset_id, retry) == (DATASET, False)
        forms = labeled_elements(samples)
        if self.slow_tokens:
            self.fired.append("slow token")
            self.clock.sleep(self.slow_tokens.pop())
        if before_sending is not None:
            before_sending()
        # How long a request is on its way is not the sender's to know.
        sent_at = self.clock.now()
        self.begin("update")
        outcomes = send_updates(forms, lambda: self._answer(forms, sent_at))
        self.give_way()
        return outcomes

    def _answer(self, forms: Sequence[Raw], sent_at: float) -> Raw:
        fault = self.write_faults.pop() if self.write_faults else "none"
        if fault != "none":
            self.fired.append(fault)
        if self.clock.now() < self.busy_until:
            self.fired.append("busy")
            raise DatasetBusy("The dataset is published.", status=400, code="ModelArts.4381")
        if fault in _NOT_EXECUTED:
            raise _NOT_EXECUTED[fault]()
        for form in forms:
            self.referee.check_write(form, sent_at)
        if fault == "lost before":
            raise ServiceUnavailable("Connection reset.")
        results = [self._apply(form) for form in forms]
        if fault == "lost after":
            raise ServiceUnavailable("Connection reset.")
        return self._replies(results)

    def _apply(self, form: Raw) -> Raw:
        sample_id = form["sample_id"]
        if sample_id in self.bad:
            return {"success": False, "error_code": self.bad[sample_id], "error_msg": "refused"}
        if sample_id in self.referee.human:
            self.referee.raced.add(sample_id)
        self.listed = [raw for raw in self.listed if raw["sample_id"] != sample_id]
        self.final[sample_id] = stored(form["labels"])
        self.referee.written[sample_id] = stored(form["labels"])
        return {"success": True}

    def _replies(self, results: list[Raw]) -> Raw:
        if all(result["success"] for result in results):
            return {"success": True}
        self.fired.append(self.results)
        if self.results == "missing":
            return {"success": False}
        if self.results == "short":
            return {"success": False, "results": results[1:]}
        if self.results == "shuffled":
            results = results[1:] + results[:1]
        return {"success": False, "results": results}


_NOT_EXECUTED: dict[str, Callable[[], Exception]] = {
    "throttled": lambda: Throttled("Slow down.", status=429, code="APIGW.0308", retry_after=2),
    "no connection": lambda: ServiceUnavailable("No connection.", sent=False),
    "bad json": lambda: InvalidRequest("No JSON.", status=400, code="ModelArts.4105"),
    "too large": lambda: InvalidRequest("Too large.", status=413, code="ModelArts.4104"),
}


class _Proposals:
    def __init__(self, service: ModelService) -> None:
        self._service = service
        self.page = service.page

    def get(self, dataset_id: str, sample_id: str) -> Sample:
        service = self._service
        service.begin("proposal")
        for raw in service.listed:
            if raw["sample_id"] == sample_id:
                service.referee.show(raw, service.clock.now(), singly=True)
                found = Sample(deepcopy(raw))
                service.give_way()
                return found
        service.referee.show_absence(sample_id)
        raise NotFound("No such sample.", status=400, code="ModelArts.4420")


class _Samples:
    def __init__(self, service: ModelService) -> None:
        self._service = service
        self.update = service.update

    def get(self, dataset_id: str, sample_id: str) -> Sample:
        service = self._service
        service.begin("final")
        labels = deepcopy(service.final.get(sample_id, []))
        service.give_way()
        return Sample({"sample_id": sample_id, "labels": labels})


class _Datasets:
    def __init__(self, service: ModelService) -> None:
        self._service = service

    def get(self, dataset_id: str) -> Any:
        self._service.begin("status")
        return _Status(6 if self._service.clock.now() < self._service.busy_until else 1)


@dataclass
class _Status:
    status: int


class ModelClient:
    """The surface of the client that confirming uses."""

    def __init__(self, service: ModelService) -> None:
        self.clock = service.clock
        self.proposals = _Proposals(service)
        self.samples = _Samples(service)
        self.datasets = _Datasets(service)
