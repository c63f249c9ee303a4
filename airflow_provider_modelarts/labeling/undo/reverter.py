"""Takes a confirmation back: labels that a run wrote go, those that were there before return.

An undo is a confirmation backwards, so it is written by the same code: what is decided upon is the sample still
carrying what the run wrote, and what is written is what stood there before. Whatever a person has changed since stays.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable
from airflow_provider_modelarts.client.resources.samples import SIZE
from airflow_provider_modelarts.labeling.apply.batch_writer import ODD_TRIES, BatchWriter
from airflow_provider_modelarts.labeling.label_equality import ODD, has_labels_of, names, raw_labels
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.ledger.reader import LedgerBroken, read_ledger, replay
from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals, ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.results import FATES, LISTED, SHOWN, RevertFate, RevertResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, SampleOutcome
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from airflow_provider_modelarts.labeling.ledger.reader import Entry, Ledger, LedgerChain
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
    ledger_dag_id: str | None = None,
    dataset_id: str | None = None,
    plans: Sequence[Plan] = (),
    preview: bool = False,
    batch_size: int = 100,
    concurrency: int = 8,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
) -> RevertResult:
    """Put back what was there before a run confirmed, where samples still carry what the run wrote.

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
    :param should_stop: asked before every write and between batches; once true no further write goes out
    :param clock: the client's
    :raises InvalidRequest: if there is no ledger of that run there
    :raises LedgerBroken: before anything is written, if a part of the ledger cannot be trusted
    :raises ModelArtsError: for what ends the run early; :func:`~.results.reverted_by` tells what was done by then
    """
    ledger = read_ledger(root, ledger_run_id)
    chains = _chains_by_dataset(ledger, ledger_dag_id, dataset_id)
    if not chains:
        about = f" of DAG {ledger_dag_id}" if ledger_dag_id else ""
        about += f" about dataset {dataset_id}" if dataset_id else ""
        raise InvalidRequest(
            f"There is no ledger of run {ledger_run_id}{about} in {ledger.uri}. Check ledger_uri and ledger_run_id."
        )
    histories = {name: _History(name, of_dataset) for name, of_dataset in chains.items()}
    run = _Run(client, clock, should_stop or (lambda: False), preview=preview)
    run.problems = tuple(
        problem for of_dataset in chains.values() for chain in of_dataset for problem in chain.verify()
    )
    run.unsettled = sum(1 for plan in plans for _ in replay(plan, ledger).open_samples())
    try:
        with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="modelarts-undo") as pool:
            for name, history in histories.items():
                run.undo(name, history, batch_size, pool)
    except ModelArtsError as error:
        error.result = run.result()  # type: ignore[attr-defined]  # the client knows nothing of undoing
        raise
    run.warn()
    return run.result()


class _Note(NamedTuple):
    """What one entry says of a sample.

    :param time: of its part; no earlier than that of the parts before it
    :param before: labels that were there; empty for none
    :param after: labels that were, or may have been, written
    :param is_read: found out by reading
    :param fate: the entry's
    :param chain: number of the chain it stands in
    :param is_open: it may have been written, and nobody knew then
    """

    time: float
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    is_read: bool
    fate: str
    chain: int
    is_open: bool

    @property
    def is_witness(self) -> bool:
        """Whether the run wrote the sample, or may have."""
        return self.is_open or self.fate in ("confirmed", "unknown")

    def disproves(self, earlier: _Note) -> bool:
        """Whether this later look at the sample says that an earlier try has not written it, or that nothing tells."""
        if self.fate == "unknown":
            return self.is_read and self.after == earlier.after
        # A refusal was of a sample that was still proposed; a try that has not recorded its end may write it yet.
        is_refusal = self.fate == "failed" and not self.is_open and earlier.fate == "failed"
        return self.fate in ("gone", "changed") or is_refusal


@dataclass
class SampleHistory:
    """What a run did to one sample.

    :param notes: what the entries say, in any order; complete when the first question is asked
    """

    sample_id: str
    place: str
    notes: list[_Note]

    @classmethod
    def of(cls, chain: int, time: float, entry: Entry) -> SampleHistory:
        """Return the history that begins with an entry."""
        # Parts hold origins without signatures.
        trace = cls(entry.sample_id, entry.origin or entry.sample_id, [])
        trace.add(chain, time, entry)
        return trace

    def add(self, chain: int, time: float, entry: Entry) -> None:
        """Take over an entry; those of one chain come in order."""
        # What was about to be written is settled by what the same writer says later.
        self.notes = [note for note in self.notes if (note.chain, note.fate) != (chain, "intended")]
        before, after = entry.before or [], entry.after
        for note in self.notes:  # most repeat what is held already
            before = note.before if note.before == before else before
            after = note.after if note.after == after else after
        self.notes.append(_Note(time, before, after, entry.read, entry.fate, chain, not entry.is_settled))

    @property
    def is_of_the_run(self) -> bool:
        """Whether the run wrote the sample, or may have."""
        return any(note.is_witness for note in self.notes)

    @cached_property
    def afters(self) -> list[list[dict[str, Any]]]:
        """Every list of labels that the run wrote or may have written."""
        afters: list[list[dict[str, Any]]] = []
        notes = sorted(self.notes, key=lambda note: note.time)  # those of one part stay in order
        for place, note in enumerate(notes, start=1):
            is_written = note.fate == "confirmed" or (
                note.is_open and not any(later.disproves(note) for later in notes[place:])
            )
            if is_written and note.after not in afters:
                afters.append(note.after)
        return afters

    @cached_property
    def before(self) -> list[dict[str, Any]]:
        """The labels that the run replaced and had not written itself, the last of them; empty for none.

        A run may write a sample several times, and people may correct it in between. It is asked of a sample that
        carries what the run wrote: so what was noted last, before a write that nobody confirmed, was replaced as well.
        """
        # Who only reads that a write was done does not know what was there before it.
        witnesses = sorted(
            (note for note in self.notes if note.is_witness and not note.is_read), key=lambda note: note.time
        )
        befores = [note.before for note in witnesses]
        of_people = [labels for labels in befores if labels and not self._is_of_the_run(labels)]
        if of_people:
            return of_people[-1]
        # Nothing but what the run wrote: a person had given the very same, unless one found nothing there.
        return [] if [] in befores or not befores else befores[0]

    def _is_of_the_run(self, labels: list[dict[str, Any]]) -> bool:
        return any(has_labels_of(_with_labels(labels), _with_labels(after)) for after in self.afters)

    def is_undone(self, sample: Sample) -> bool:
        """Whether a sample stands as it did before the run."""
        return has_labels_of(sample, _with_labels(self.before)) if self.before else not raw_labels(sample)

    def is_on(self, sample: Sample) -> bool:
        """Whether a sample carries what the run wrote, and that is not what was there before."""
        return not self.is_undone(sample) and any(has_labels_of(sample, _with_labels(after)) for after in self.afters)

    def is_unknown(self, sample: Sample) -> bool:
        """Whether a sample carries labels of which the ledger does not know whether the run or a person gave them."""
        doubtful = (note.after for note in self.notes if note.fate == "unknown")
        return any(has_labels_of(sample, _with_labels(after)) for after in doubtful)

    def target(self, sample: Sample) -> Sample:
        """Return what goes to the writer: the labels to restore, or to recognise where all are taken away."""
        raw: dict[str, Any] = {"sample_id": self.sample_id, "labels": self.before or self.afters[0]}
        if SIZE in sample.metadata:
            raw["metadata"] = {SIZE: sample.metadata[SIZE]}
        return Sample(raw)


class _History:
    """What a run did to the samples of one dataset, read from its ledger in two passes so that memory stays small."""

    def __init__(self, dataset_id: str, chains: Sequence[LedgerChain]) -> None:
        self._chains = chains
        self._repeated: set[bytes] = set()
        seen: set[bytes] = set()
        for _, _, entry in self._entries():
            key = _key(entry.sample_id)
            (self._repeated if key in seen else seen).add(key)
        self.dataset_id = dataset_id

    def traces(self) -> Iterator[SampleHistory]:
        """Yield each sample once; first those with one entry."""
        merged: dict[str, SampleHistory] = {}
        for chain, time, entry in self._entries():
            if _key(entry.sample_id) not in self._repeated:
                trace = SampleHistory.of(chain, time, entry)
                if trace.is_of_the_run:
                    yield trace
            elif entry.sample_id in merged:
                merged[entry.sample_id].add(chain, time, entry)
            else:
                merged[entry.sample_id] = SampleHistory.of(chain, time, entry)
        yield from (trace for trace in merged.values() if trace.is_of_the_run)

    def _entries(self) -> Iterator[tuple[int, float, Entry]]:
        """Yield what was noted, in which chain and when: chains come by name, which says nothing of time."""
        for number, chain in enumerate(self._chains):
            time = 0.0
            for header, entries in chain.read():
                time = max(time, header.created_at)  # clocks may be set back, a chain is in order
                yield from ((number, time, entry) for entry in entries if entry.after)


class RevertTarget(DatasetProposals):
    """The dataset as the writer sees it while a confirmation is taken back.

    "Still proposed" means: carries what the run wrote. "Written" means: is as it was before.

    :param clears: take the labels away; else write those of the sample handed in
    """

    def __init__(self, client: ModelArtsClient, dataset_id: str, clock: Clock, *, clears: bool) -> None:
        super().__init__(client, dataset_id, clock)
        self._clears = clears
        self.traces: dict[str, SampleHistory] = {}

    def proposal(self, sample_id: str) -> ProposalRead | None:
        """Return what is to be written if the sample still carries what the run wrote."""
        read_at = self.clock.now()
        sample, trace = super().final(sample_id), self.traces[sample_id]
        return ProposalRead(trace.target(sample), read_at) if sample is not None and trace.is_on(sample) else None

    def final(self, sample_id: str) -> Sample | None:
        """Return what was to be written if the sample is as before."""
        sample, trace = super().final(sample_id), self.traces[sample_id]
        return trace.target(sample) if sample is not None and trace.is_undone(sample) else None

    def write(
        self, samples: Sequence[Sample], before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]:
        """Restore or clear, in one request."""
        if not self._clears:
            return super().write(samples, before_sending)
        ids = [sample.sample_id for sample in samples]
        return self._paced(self._client.samples.clear_labels, ids, before_sending)


class _Run:
    """One undo: its counts, and the reading and writing."""

    def __init__(
        self, client: ModelArtsClient, clock: Clock, should_stop: Callable[[], bool], *, preview: bool
    ) -> None:
        self._client = client
        self._clock = clock
        self._should_stop = should_stop
        self._preview = preview
        self._begun = clock.now()
        self._services: list[DatasetProposals] = []
        self._counts: Counter[RevertFate] = Counter()
        self._examples: dict[RevertFate, list[str]] = {}
        self._failures: dict[str, Failure] = {}
        self._stopped = False
        self._lock = threading.Lock()
        self._unreadable = 0
        """Reads that failed since one went well."""
        self._respelled = 0
        self._changed_example = ""
        self.unsettled = 0
        self.problems: tuple[str, ...] = ()

    def undo(self, dataset_id: str, history: _History, batch_size: int, pool: ThreadPoolExecutor) -> None:
        """Take back what was written to one dataset."""
        reader = DatasetProposals(self._client, dataset_id, self._clock)
        restoring = RevertTarget(self._client, dataset_id, self._clock, clears=False)
        clearing = RevertTarget(self._client, dataset_id, self._clock, clears=True)
        self._services += [reader, restoring, clearing]
        traces = history.traces()
        while batch := list(islice(traces, batch_size)):
            if self._stopped or self._should_stop():
                self._stopped = True
                return
            read_at = self._clock.now()
            found = list(pool.map(partial(self._read, reader), [trace.sample_id for trace in batch]))
            pending = [
                (trace, ProposalRead(trace.target(sample), read_at))
                for trace, answer in zip(batch, found, strict=True)
                if (sample := self._known(trace, answer)) is not None and self._is_to_undo(trace, sample)
            ]
            self._write(restoring, "restored", [(trace, candidate) for trace, candidate in pending if trace.before])
            self._write(clearing, "cleared", [(trace, candidate) for trace, candidate in pending if not trace.before])

    def result(self) -> RevertResult:
        """Return the counts as they are now."""
        return RevertResult(
            seen=sum(self._counts.values()),
            **{fate: self._counts[fate] for fate in FATES},
            unsettled=self.unsettled,
            requests=sum(service.requests for service in self._services),
            seconds=self._clock.now() - self._begun,
            preview=self._preview,
            stopped=self._stopped,
            examples={fate: tuple(self._examples[fate]) for fate in LISTED if fate in self._examples},
            failures=self._failures,
            problems=self.problems,
        )

    def _is_to_undo(self, trace: SampleHistory, sample: Sample) -> bool:
        if (fault := sample.oddity) is not None:
            log.warning("Sample %s is left as it is: %s", trace.sample_id, fault)
            self._fail(trace, ODD, fault)
            return False
        if trace.is_on(sample):
            return True
        if trace.is_undone(sample):
            self._note(trace, "already")
        elif trace.is_unknown(sample):
            self._note(trace, "unknown")
        else:
            self._note(trace, "changed")
            self._remember_changed(trace, sample)
        return False

    def _remember_changed(self, trace: SampleHistory, sample: Sample) -> None:
        """Remember what a sample carries instead of what was written; one whose names are but respelled comes first."""
        respelled = [after for after in trace.afters if has_labels_of(sample, _with_labels(after), loosely=True)]
        if trace.afters and (not self._changed_example or (respelled and not self._respelled)):
            written = _with_labels((respelled or trace.afters)[0])
            # Characters that look alike are told apart by their numbers.
            wrote, found = (ascii(text)[1:-1] if respelled else text for text in (names(written), names(sample)))
            self._changed_example = f"the run wrote {wrote} to {trace.place}, which carries {found}"
        self._respelled += bool(respelled)

    def warn(self) -> None:
        """Say so, in the log and in the report, if it is hardly people who have changed what was found changed."""
        changed = self._counts["changed"]
        is_nothing_undone = changed and not any(self._counts[fate] for fate in ("restored", "cleared", "already"))
        if not self._changed_example or not (is_nothing_undone or self._respelled):
            return
        number, what = (self._respelled, "other spellings of") if self._respelled else (changed, "something else than")
        problem = (
            f"{number} of {sum(self._counts.values())} samples carry {what} what the run wrote, and were not touched. "
            "Unless people did that, the service changes labels when it keeps them, and an undo cannot tell them from "
            f"those of people: correct them in the console. For example {self._changed_example}."
        )
        log.warning("%s", problem)
        self.problems = (*self.problems, problem)

    def _read(self, reader: DatasetProposals, sample_id: str) -> Sample | ModelArtsError | None:
        """Read a sample; a failure that is its own is returned, so that the others go on. In the pool's threads.

        :raises ModelArtsError: for what concerns all of them
        """
        for _ in range(ODD_TRIES):
            try:
                sample = reader.final(sample_id)
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

    def _known(self, trace: SampleHistory, found: Sample | ModelArtsError | None) -> Sample | None:
        """Return a sample as it was read; note it if it could not be read, or is no more."""
        if isinstance(found, ModelArtsError):
            self._fail(trace, found.code or UNKNOWN, found.message)
            return None
        if found is None:
            self._note(trace, "gone")
        return found

    def _write(
        self, service: RevertTarget, done: RevertFate, pending: Sequence[tuple[SampleHistory, ProposalRead]]
    ) -> None:
        if self._preview:
            self._counts[done] += len(pending)
            return
        service.traces = {trace.sample_id: trace for trace, _ in pending}
        open_traces = dict(service.traces)
        writer = BatchWriter(service, batch_size=max(len(pending), 1), stop=StopSignal(self._should_stop))
        try:
            for outcome in writer.write([candidate for _, candidate in pending]):
                self._take(open_traces.pop(outcome.sample.sample_id), outcome, done)
        except ModelArtsError as error:
            for sample_id in writer.uncertain & open_traces.keys():
                self._fail(open_traces[sample_id], "unknown", error.message)
            raise

    def _take(self, trace: SampleHistory, outcome: WriteOutcome, done: RevertFate) -> None:
        if outcome.status is ConfirmationStatus.LEFT:
            self._stopped = True
        elif outcome.status is ConfirmationStatus.FAILED:
            self._fail(trace, outcome.code, outcome.message)
        elif outcome.carries_labels:
            self._note(trace, "already")  # by somebody else
        else:
            # Where nothing tells who has put it back it is as it was all the same.
            self._note(
                trace,
                done if outcome.status in (ConfirmationStatus.CONFIRMED, ConfirmationStatus.UNKNOWN) else "changed",
            )

    def _fail(self, trace: SampleHistory, error_code: str, message: str) -> None:
        self._note(trace, "failed")
        known = self._failures.get(error_code, Failure(error_code, message, 0, ()))
        shown = (*known.samples, trace.sample_id)[:SAMPLES_SHOWN]
        self._failures[error_code] = Failure(error_code, known.message, known.count + 1, shown)

    def _note(self, trace: SampleHistory, fate: RevertFate) -> None:
        self._counts[fate] += 1
        places = self._examples.setdefault(fate, []) if fate in LISTED else None
        if places is not None and len(places) < SHOWN:
            places.append(trace.place)


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


def _with_labels(labels: list[dict[str, Any]]) -> Sample:
    return Sample({"labels": labels})


def _key(sample_id: str) -> bytes:
    return blake2b(json.dumps(sample_id).encode(), digest_size=16).digest()
