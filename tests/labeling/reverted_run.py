"""A run that confirmed proposals and is to be reverted; what the tests of the undo share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.labeling.label_equality import raw_labels
from airflow_provider_modelarts.labeling.ledger.entries import Entry, RunIdentity
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.undo.results import FATES, RevertResult
from airflow_provider_modelarts.labeling.undo.reverter import RevertRun, revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

RUN = RunIdentity("flowers", "manual__1", "confirm")
PATH = "data-annotations"
PERSON = "human/emulator/person"
"""Who gave the labels that a sample has, says its next proposal."""


class Story:
    """A run that confirmed every proposal of a dataset, some of samples that people had labeled before."""

    def __init__(
        self,
        client: ModelArtsClient,
        emulator: Emulator,
        count: int = 60,
        *,
        kind: str = "classification",
        relabeled: int = 0,
        seed: int = 0,
    ) -> None:
        self.client, self.emulator, self.bucket = client, emulator, Bucket()
        self.dataset_id = emulator.load_proposals(count, kind=kind, seed=seed)
        self.dataset = emulator.dataset(self.dataset_id)
        proposals = self.dataset.proposals
        for sample_id in list(proposals)[:relabeled]:
            # labeled by a person, and proposed again nevertheless
            self.dataset.edit(sample_id, self.labels_by_hand(sample_id, kind))
            self.dataset.propose([{**proposals[sample_id], "annotated_by": PERSON}])
        self.before = {sample_id: self.dataset.labels_of(sample_id) for sample_id in proposals}
        self.proposals = {sample_id: Sample(raw) for sample_id, raw in proposals.items()}

    @staticmethod
    def labels_by_hand(sample_id: str, kind: str) -> list[dict[str, Any]]:
        label: dict[str, Any] = {"name": f"by hand {sample_id[-1]}"}
        if kind == "detection":
            label["type"] = 1
            label["property"] = {"@modelarts:shape": "bndbox", "@modelarts:feature": [[1, 2.0], [3, 4]]}
        return [label, {**label, "name": "second"}]

    @property
    def ids(self) -> list[str]:
        return list(self.proposals)

    def confirm(self, ids: Iterable[str] | None = None, identity: RunIdentity = RUN, **facts: Any) -> None:
        wanted = [self.proposals[sample_id] for sample_id in (self.ids if ids is None else ids)]
        with LedgerWriter(self.bucket, identity, self.dataset_id, window=25, **facts) as ledger:
            for first in range(0, len(wanted), 20):
                part = wanted[first : first + 20]
                assert all(outcome.ok for outcome in self.client.samples.update(self.dataset_id, part))
                ledger.record(*(self.entry(sample) for sample in part))
        self.emulator.journal.clear()

    def entry(self, sample: Sample, **more: Any) -> Entry:
        facts: dict[str, Any] = {"fate": "confirmed", "before": self.before[sample.sample_id] or None}
        return Entry(sample.sample_id, rule="passed", after=raw_labels(sample), origin=sample.origin, **(facts | more))

    def run(self, **more: Any) -> RevertRun:
        return RevertRun(self.client, self.bucket, RUN.run_id, **more)

    def revert(self, **more: Any) -> RevertResult:
        return revert(self.client, self.bucket, RUN.run_id, **more)

    def now(self) -> dict[str, list[dict[str, Any]]]:
        return {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.proposals}

    @property
    def writes(self) -> int:
        return self.emulator.journal.count("PUT", PATH)


def counts(result: RevertResult) -> dict[str, int]:
    return {fate: getattr(result, fate) for fate in FATES if getattr(result, fate)}
