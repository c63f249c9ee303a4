"""Reverts a confirmation: labels that a run wrote go, those that were there before return.

The writer of a confirmation does the writing, with another target: a sample is to be written while it carries what the
run wrote, and what is written is what stood there before. Whatever a person has changed since stays.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply.batch_writer import BatchWriter
from airflow_provider_modelarts.labeling.apply.outcome_reader import ODD_TRIES
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, names
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN, LedgerBroken
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.policy import ODD
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.history import DatasetHistory, SampleHistory, with_labels
from airflow_provider_modelarts.labeling.undo.results import FATES, LISTED, SHOWN, RevertFate, RevertResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Sample, SampleOutcome
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger, LedgerChain
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

log = logging.getLogger(__name__)

DOWN_IN_A_ROW = 3
"""After so many reads without an answer, and none that went well in between, the service is down."""


def revert(
    client: ModelArtsClient,
    root: StoragePath,
    ledger_run_id: str,
    *,
    should_stop: Callable[[], bool] | None = None,
    **parameters: Any,
) -> RevertResult:
    """Put back what was there before a run confirmed, where samples still carry what the run wrote.

    :param should_stop: called before every write and between batches; once true no further write is sent
    :param parameters: and the first three, and what is raised: as of :class:`RevertRun`
    """
    return RevertRun(client, root, ledger_run_id, **parameters).revert(StopSignal(should_stop))


class RevertTarget:
    """A dataset as the writer sees it while a confirmation is reverted.

    A sample is still proposed while it carries what the run wrote, and is written once it is as it was before.

    :param dataset: where to read and write
    :param histories: of the samples to be written
    :param clears: take the labels away; else write those of the samples given to :meth:`write`
    """

    def __init__(self, dataset: DatasetProposals, histories: dict[str, SampleHistory], *, clears: bool) -> None:
        self._dataset = dataset
        self._histories = histories
        self._clears = clears
        self.dataset_id = dataset.dataset_id
        self.clock = dataset.clock
        self.pace = dataset.pace
        self.is_busy = dataset.is_busy

    def proposal(self, sample_id: str) -> ProposalRead | None:
        """Return what is to be written if the sample still carries what the run wrote."""
        read_at = self.clock.now()
        sample, history = self._dataset.final(sample_id), self._histories[sample_id]
        if sample is None or not history.is_on(sample):
            return None
        return ProposalRead(row_of(history.target(sample)), read_at)

    def final(self, sample_id: str) -> Sample | None:
        """Return what was to be written if the sample is as before."""
        sample, history = self._dataset.final(sample_id), self._histories[sample_id]
        return history.target(sample) if sample is not None and history.is_undone(sample) else None

    def write(
        self, rows: Sequence[SampleRow], before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]:
        """Restore or clear, in one request."""
        write = self._dataset.clear if self._clears else self._dataset.write
        return write(rows, before_sending)


class RevertRun:
    """Puts back what was there before a run confirmed, where samples still carry what the run wrote.

    Labels are recognised by name, type and property, which is all that the service keeps. Samples that had no label
    lose theirs. Everything else is counted and left alone. Safe to repeat, and after a kill at any moment.

    :param client: speaks to the service
    :param root: the ledger's place, as it was given to the run
    :param ledger_run_id: the DAG run that wrote
    :param ledger_dag_id: only what this DAG wrote; default: runs of other DAGs with the same id are refused
    :param dataset_id: only what was written to this dataset; default: all that the run wrote to
    :param plans: the plans that the run applied, to count what a crash left unsettled
    :param preview: read and count, write nothing
    :param batch_size: samples in one request
    :param concurrency: samples read at once
    :param clock: the client's
    :raises InvalidRequest: if there is no ledger of that run there
    :raises LedgerBroken: if a part of the ledger cannot be trusted
    """

    def __init__(
        self,
        client: ModelArtsClient,
        root: StoragePath,
        ledger_run_id: str,
        *,
        ledger_dag_id: str | None = None,
        dataset_id: str | None = None,
        plans: Sequence[Plan] = (),
        preview: bool = False,
        batch_size: int = 100,
        concurrency: int = 8,
        clock: Clock = system_clock,
    ) -> None:
        self._begun = clock.now()
        self._clock = clock
        self._preview = preview
        self._batch_size = batch_size
        self._concurrency = concurrency
        ledger = read_ledger(root, ledger_run_id)
        chains = _chains_by_dataset(ledger, ledger_dag_id, dataset_id)
        if not chains:
            about = f" of DAG {ledger_dag_id}" if ledger_dag_id else ""
            about += f" about dataset {dataset_id}" if dataset_id else ""
            raise InvalidRequest(
                f"There is no ledger of run {ledger_run_id}{about} in {ledger.uri}. Check ledger_uri and ledger_run_id."
            )
        self._datasets = [
            (DatasetProposals(client, name, clock), DatasetHistory(of_dataset)) for name, of_dataset in chains.items()
        ]
        self._problems = [
            problem for of_dataset in chains.values() for chain in of_dataset for problem in chain.verify()
        ]
        self._unsettled = sum(1 for plan in plans for _ in replay(plan, ledger).open_samples())
        self._counts: Counter[RevertFate] = Counter()
        self._examples: dict[RevertFate, list[str]] = {}
        self._failures: dict[str, Failure] = {}
        self._stopped = self._has_ended = False
        self._lock = threading.Lock()
        self._unreadable = 0
        """Reads that failed since one went well."""
        self._respelled = 0
        self._changed_example = ""

    def revert(self, stop: StopSignal) -> RevertResult:
        """Revert; to be called once.

        :param stop: read before every write and between batches; once it is set no further write is sent
        :raises ModelArtsError: for what ends the run early; :meth:`result` then has the counts
        """
        try:
            with ThreadPoolExecutor(max_workers=self._concurrency, thread_name_prefix="modelarts-undo") as pool:
                for dataset, history in self._datasets:
                    samples = history.samples()
                    while not self._stopped and (batch := list(islice(samples, self._batch_size))):
                        if stop.is_set():
                            self._stopped = True
                        else:
                            self._revert_batch(dataset, batch, pool, stop)
            self._warn_of_changed()
        finally:
            self._has_ended = True
        return self._result()

    def result(self) -> RevertResult | None:
        """Return the counts, also those of a run that an error ended; None if it runs or has not begun."""
        return self._result() if self._has_ended else None

    def _result(self) -> RevertResult:
        counts = self._counts
        return RevertResult(
            seen=counts.total(),
            **{fate: counts[fate] for fate in FATES},
            unsettled=self._unsettled,
            requests=sum(dataset.requests for dataset, _ in self._datasets),
            seconds=self._clock.now() - self._begun,
            preview=self._preview,
            stopped=self._stopped,
            examples={fate: tuple(self._examples[fate]) for fate in LISTED if fate in self._examples},
            failures=dict(self._failures),
            problems=tuple(self._problems),
        )

    def _revert_batch(
        self, dataset: DatasetProposals, batch: Sequence[SampleHistory], pool: ThreadPoolExecutor, stop: StopSignal
    ) -> None:
        read_at = self._clock.now()
        pending: list[tuple[SampleHistory, ProposalRead]] = []
        reads = list(pool.map(partial(self._read, dataset), [history.sample_id for history in batch]))
        for history, sample in zip(batch, reads, strict=True):
            if isinstance(sample, ModelArtsError):
                self._fail(history, sample.code or UNKNOWN, sample.message)
            elif sample is None:
                self._count(history, "gone")
            elif (fault := sample.oddity) is not None:
                log.warning("Sample %s is left as it is: %s", history.sample_id, fault)
                self._fail(history, ODD, fault)
            elif history.is_on(sample):
                pending.append((history, ProposalRead(row_of(history.target(sample)), read_at)))
            elif history.is_undone(sample):
                self._count(history, "already")
            elif history.is_unknown(sample):
                self._count(history, "unknown")
            else:
                self._count(history, "changed")
                self._remember_changed(history, sample)
        restored = [(history, candidate) for history, candidate in pending if history.before]
        self._write(dataset, "restored", restored, stop)
        cleared = [(history, candidate) for history, candidate in pending if not history.before]
        self._write(dataset, "cleared", cleared, stop)

    def _read(self, dataset: DatasetProposals, sample_id: str) -> Sample | ModelArtsError | None:
        """Read a sample in the pool's threads; an error that concerns this sample alone is returned.

        :raises ModelArtsError: for what concerns all of them
        """
        for _ in range(ODD_TRIES):
            try:
                sample = dataset.final(sample_id)
            except ModelArtsError as error:
                failed = error
                if is_odd_read(error):
                    continue
                with self._lock:
                    self._unreadable += 1
                    is_down = self._unreadable >= DOWN_IN_A_ROW
                if is_down or not isinstance(error, ServiceUnavailable):
                    raise
                return error
            self._unreadable = 0
            return sample
        return failed

    def _write(
        self,
        dataset: DatasetProposals,
        done: RevertFate,
        pending: Sequence[tuple[SampleHistory, ProposalRead]],
        stop: StopSignal,
    ) -> None:
        if self._preview:
            self._counts[done] += len(pending)
            return
        histories = {history.sample_id: history for history, _ in pending}
        writer = BatchWriter(
            RevertTarget(dataset, histories.copy(), clears=done == "cleared"),
            batch_size=max(len(pending), 1),
            stop=stop,
        )
        try:
            for outcome in writer.write([candidate for _, candidate in pending]):
                for sample_id in outcome.ids:
                    self._on_outcome(histories.pop(sample_id), outcome, done)
        except ModelArtsError as error:
            for sample_id in writer.uncertain & histories.keys():
                self._fail(histories[sample_id], UNKNOWN, error.message)
            raise

    def _on_outcome(self, history: SampleHistory, outcome: WriteOutcome, done: RevertFate) -> None:
        if outcome.status is ConfirmationStatus.LEFT:
            self._stopped = True
        elif outcome.status is ConfirmationStatus.FAILED:
            self._fail(history, outcome.code, outcome.message)
        elif outcome.carries_labels:
            self._count(history, "already")  # by somebody else
        else:
            # UNKNOWN: it is as it was before, whoever did that.
            is_done = outcome.status in (ConfirmationStatus.CONFIRMED, ConfirmationStatus.UNKNOWN)
            self._count(history, done if is_done else "changed")

    def _fail(self, history: SampleHistory, error_code: str, message: str) -> None:
        self._count(history, "failed")
        known = self._failures.get(error_code, Failure(error_code, message, 0, ()))
        shown = (*known.samples, history.sample_id)[:SAMPLES_SHOWN]
        self._failures[error_code] = Failure(error_code, known.message, known.count + 1, shown)

    def _count(self, history: SampleHistory, fate: RevertFate) -> None:
        self._counts[fate] += 1
        if fate in LISTED and len(places := self._examples.setdefault(fate, [])) < SHOWN:
            places.append(history.place)

    def _remember_changed(self, history: SampleHistory, sample: Sample) -> None:
        """Remember what a sample carries instead of what was written; one whose names are but respelled comes first."""
        respelled = [after for after in history.afters if has_labels_of(sample, with_labels(after), loosely=True)]
        if history.afters and (not self._changed_example or (respelled and not self._respelled)):
            written = with_labels((respelled or history.afters)[0])
            # Characters that look alike are told apart by their numbers.
            wrote, found = (ascii(text)[1:-1] if respelled else text for text in (names(written), names(sample)))
            self._changed_example = f"the run wrote {wrote} to {history.place}, which carries {found}"
        self._respelled += bool(respelled)

    def _warn_of_changed(self) -> None:
        """Warn in the log and in the report if it is hardly people who changed the samples."""
        changed = self._counts["changed"]
        is_nothing_undone = changed and not any(self._counts[fate] for fate in ("restored", "cleared", "already"))
        if not self._changed_example or not (is_nothing_undone or self._respelled):
            return
        number, what = (self._respelled, "other spellings of") if self._respelled else (changed, "something else than")
        problem = (
            f"{number} of {self._counts.total()} samples carry {what} what the run wrote, and were not touched. "
            "Unless people did that, the service changes labels when it keeps them, and an undo cannot tell them from "
            f"those of people: correct them in the console. For example {self._changed_example}."
        )
        log.warning("%s", problem)
        self._problems.append(problem)


def _chains_by_dataset(ledger: Ledger, dag_id: str | None, dataset_id: str | None) -> dict[str, list[LedgerChain]]:
    """Return the chains for each dataset.

    :raises LedgerBroken: if DAGs of different names have a run of this id here: which one is meant cannot be known
    """
    found: dict[str, list[LedgerChain]] = {}
    dags: set[str] = set()
    for chain in ledger.chains:
        header = chain.first()
        if dag_id in (None, header.dag_id) and dataset_id in (None, header.dataset_id):
            found.setdefault(header.dataset_id, []).append(chain)
            dags.add(header.dag_id)
    if len(dags) > 1:
        raise LedgerBroken(
            f"The ledger {ledger.uri} holds runs of {len(dags)} DAGs under one run id ({', '.join(sorted(dags))}): "
            "name the one to revert as ledger_dag_id."
        )
    return found
