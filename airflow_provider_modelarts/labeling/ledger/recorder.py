"""Records what a running confirmation does: what it is about to replace, and what became of each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.labeling.ledger.entries import entry_line
from airflow_provider_modelarts.labeling.ledger.reconcile import Reconciler
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter, ledger_errors
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.storage.path import stored_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.ledger.entries import LedgerFate, RunIdentity
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, ProposalRead
    from airflow_provider_modelarts.labeling.sample_table import SampleTable
    from airflow_provider_modelarts.labeling.storage.path import StoragePath


class LedgerTarget(NamedTuple):
    """Where the record of a confirmation goes, and who confirms.

    :param root: the ledger's place, the same for all runs
    :param identity: the Airflow task that confirms
    :param approved_by: who approved the plan, if anybody was asked
    :param approved_at: when, ISO 8601, if that is known
    """

    root: StoragePath
    identity: RunIdentity
    approved_by: str | None = None
    approved_at: str | None = None


class Recorder:
    """Keeps the ledger of one try.

    Entries are kept in memory and stored by jobs of the worker pool, a part at a time.

    :param target: where it goes
    :param plan: what is applied
    :param clock: the client's
    :raises LedgerBroken: if what earlier tries left cannot be trusted
    :raises PlanRefused: if another try of the same work has applied another plan
    """

    def __init__(self, target: LedgerTarget, plan: Plan, clock: Clock) -> None:
        self._writer = LedgerWriter(
            target.root,
            target.identity,
            plan.header.dataset_id,
            plan_uri=stored_uri(plan.path),
            plan_digest=plan.digest,
            approved_by=target.approved_by,
            approved_at=target.approved_at,
            clock=clock,
        )
        self._reconciler = Reconciler(target.root, target.identity, plan, self._writer, clock)
        self.uri = self._writer.uri
        self._is_storing = False

    def begin(self) -> None:
        """Store that this try may write from now on; a try that left no such part has written nothing.

        :raises ConfirmationError: if it cannot be stored
        """
        with ledger_errors(self.uri):
            self._writer.begin()

    def close(self, *, is_complete: bool) -> None:
        """Store what was recorded, and end the chain.

        :param is_complete: all that was written is recorded; if not the chain stays open, as after a crash
        :raises ConfirmationError: if it cannot be stored
        """
        with ledger_errors(self.uri):
            if is_complete:
                self._writer.close()
            else:
                self._writer.flush()

    @property
    def knows_confirmed(self) -> bool:
        """Whether another try is known to have confirmed any sample."""
        return self._reconciler.knows_confirmed

    @property
    def confirmed_before(self) -> int:
        """How many samples are counted as confirmed because another try has recorded that."""
        return self._reconciler.confirmed_before

    def is_confirmed(self, sample_id: str) -> bool:
        """Whether another try is known to have confirmed a sample."""
        return self._reconciler.is_confirmed(sample_id)

    def record_previous_labels(self, found: Sequence[tuple[ProposalRead, list[dict[str, Any]]]]) -> None:
        """Store the labels that people had given samples about to be written; called in the pool's threads.

        They must be known even if this process dies right after the write: nothing else remembers them.

        :param found: the samples, and the labels; none if those found before are there no more
        :raises ConfirmationError: if they cannot be stored
        """
        with ledger_errors(self.uri):
            self._writer.add_lines([entry_line(one.row, "intended", one.rule, before=before) for one, before in found])
            self._writer.flush()

    def record(
        self,
        reads: Sequence[ProposalRead],
        fate: LedgerFate,
        before: Mapping[str, list[dict[str, Any]]],
        *,
        code: str = "",
        message: str = "",
    ) -> None:
        """Record what became of samples that were to be written.

        :param before: the labels that people had given them, by sample id; the rest as of :class:`.entries.Entry`
        """
        if fate == "confirmed":
            self._reconciler.witness = reads[0].row
        self._writer.add_lines(
            [
                entry_line(one.row, fate, one.rule, before=before.get(one.row.sample_id), code=code, message=message)
                for one in reads
            ]
        )

    def record_carrying(self, sample_ids: Iterable[str]) -> None:
        """Note that samples carry the planned labels, and that this try did not write them.

        Another try may have written them and not have recorded that yet: they are looked up at the end.
        """
        self._reconciler.carrying.update(sample_ids)

    def record_changed(self, read: ProposalRead) -> None:
        """Record a planned sample that is proposed otherwise now; looked up at the end if a try may have written it."""
        if self._reconciler.may_be_written(read.sample_id):
            self._reconciler.changed.add(read.sample_id)
        else:
            self._writer.add_lines([entry_line(read.row, "changed", read.rule)])

    def due(self) -> list[WorkItem[Any]]:
        """Return the job that stores what was recorded, if it is time for that; one at a time."""
        if self._is_storing or not self._writer.is_due:
            return []
        self._is_storing = True
        return [WorkItem(self._store, self._on_stored)]

    def reconcile_unlisted(
        self, table: SampleTable, proposals: DatasetProposals, run_jobs: Callable[[list[WorkItem[Any]]], None]
    ) -> None:
        """Account for planned samples that the list did not show; see :meth:`.reconcile.Reconciler.reconcile`."""
        self._reconciler.reconcile(table, proposals, run_jobs)

    def _store(self) -> None:
        with ledger_errors(self.uri):
            self._writer.flush()

    def _on_stored(self, nothing: None) -> list[WorkItem[Any]]:
        del nothing
        self._is_storing = False
        return []
