"""Exports the labels of a dataset: reads the samples once, keeps what the format can express, writes the files."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.labeling.export.folder import ExportFolder
from airflow_provider_modelarts.labeling.export.formats import FORMATS
from airflow_provider_modelarts.labeling.export.formats.base import ExportFault
from airflow_provider_modelarts.labeling.export.formats.json_lines import samples_file
from airflow_provider_modelarts.labeling.export.provenance import ConfirmationIndex
from airflow_provider_modelarts.labeling.export.results import ExportProblems, ExportResult
from airflow_provider_modelarts.labeling.export.samples import exported
from airflow_provider_modelarts.labeling.export.spool import SampleSpool
from airflow_provider_modelarts.labeling.policy import ODD
from airflow_provider_modelarts.labeling.results import PROGRESS_SECONDS, bounded_counts
from airflow_provider_modelarts.labeling.sample_facts import different
from airflow_provider_modelarts.labeling.storage.path import display_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Sample
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.export import OnProblem
    from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat
    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

log = logging.getLogger(__name__)

LABELED = "__ALL__"
"""The service's word for labeled samples (contract 6.4)."""
_LEDGERS_SHOWN = 20
READINGS = 3
"""How often the lists are read before the export gives up, if people change them at the same time."""


class ExportUnsteadyError(ModelArtsError):
    """The lists of samples changed each time that they were read; a later try may succeed."""

    permanent = False


class ExportStoppedError(ModelArtsError):
    """The export was asked to stop before it was complete."""

    permanent = False


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported.

    :param dataset_id: the dataset
    :param path: the folder to write to
    :param format: a name of :data:`~airflow_provider_modelarts.labeling.export.formats.FORMATS`
    :param include_proposals: export undecided proposals too, marked as such; only formats that can tell them apart
    :param classes: label names in the order of their numbers; None: the names that are met, sorted
    :param on_problem: what to do about a sample or a label that cannot be exported. "fail": write nothing.
        "leave_out_samples": leave out each sample that cannot be exported whole. "leave_out_labels": leave out what the
        format cannot express, and samples that have nothing else
    :param plan: a plan of the dataset; says what was decided about each sample
    :param ledgers: say who confirmed which sample
    :param made_by: who exports, as the caller says: dag, run, task ...; JSON primitives
    """

    dataset_id: str
    path: StoragePath
    format: str
    include_proposals: bool = False
    classes: Sequence[str] | None = None
    on_problem: OnProblem = "fail"
    plan: Plan | None = None
    ledgers: Sequence[Ledger] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InvalidRequest(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}.")
        if self.include_proposals and not FORMATS[self.format].takes_proposals:
            able = ", ".join(name for name, one in FORMATS.items() if one.takes_proposals)
            raise InvalidRequest(
                f"{self.format} cannot tell a proposal from a decision: leave include_proposals out, or choose {able}."
            )
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise InvalidRequest("classes has a name twice.")


class _Counts:
    """What one reading has found."""

    def __init__(self) -> None:
        self.values = dict.fromkeys(("seen", "samples", "proposals", "left_out", "labels", "labels_left_out"), 0)
        self.values |= dict.fromkeys(("redacted", "renamed", "confirmed", "changed_since"), 0)
        self.by_label: Counter[str] = Counter()
        self.names: set[str] = set()
        """Of the labels of proposals too."""
        self.problems = ExportProblems()


class LabelExport:
    """Exports the labels of a dataset into a folder; use :meth:`run` once.

    :param client: speaks to the service
    :param request: what to export
    :param clock: the client's
    :param on_progress: called every few seconds with the number of samples that were read
    :param should_stop: asked before each sample is read; true ends the export
    """

    def __init__(
        self,
        client: ModelArtsClient,
        request: ExportRequest,
        *,
        clock: Clock = system_clock,
        on_progress: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._client = client
        self._request = request
        self._clock = clock
        self._on_progress = on_progress or (lambda _: None)
        self._should_stop = should_stop or (lambda: False)
        self._format: ExportFormat = FORMATS[request.format]
        self._counts = _Counts()
        self._missing: tuple[int, list[str]] = (0, [])
        self._written = ("", 0)
        self._begun = clock.now()

    def run(self) -> ExportResult:
        """Read, check, and write.

        :raises ExportProblemsError: if something cannot be exported, and ``on_problem`` is "fail"; nothing was written
        :raises ExportPlaceError: if the folder holds something else
        :raises ExportUnsteadyError: if people change the lists all the time
        :raises LedgerBroken: if a part of a ledger cannot be trusted
        :raises ModelArtsError: if the samples cannot be read
        """
        request, form = self._request, self._format
        self._begun = self._clock.now()
        with ExitStack() as stack:
            folder = ExportFolder(request.path, request.dataset_id, form.name, form.folders)
            stack.enter_context(closing(folder))
            folder.check()
            index = ConfirmationIndex(request.dataset_id, request.ledgers)
            stack.enter_context(closing(index))
            spool = stack.enter_context(self._read(index))
            self._missing = index.missing()
            if request.on_problem == "fail":
                self._counts.problems.check(form.name, request.dataset_id)
            spool.name_images()
            contents = _Contents(spool, request, self._counts.names)
            self._counts.values["renamed"] = spool.count_renamed()
            names = (file.name for file in contents.files())
            self._written = folder.write(contents.files(), names, self._facts())
        return self.result()

    def result(self) -> ExportResult:
        """Return the counts so far, also after an error."""
        digest, files = self._written
        return ExportResult(
            dataset_id=self._request.dataset_id,
            format=self._format.name,
            uri=display_uri(self._request.path),
            **self._counts.values,
            files=files,
            confirmed_missing=self._missing[0],
            by_label=dict(self._counts.by_label),
            problems=self._counts.problems.by_code,
            digest=digest,
            seconds=self._clock.now() - self._begun,
        )

    @property
    def confirmed_missing(self) -> Sequence[str]:
        """Ids of some samples that a ledger says were confirmed, and that are not labeled now."""
        return self._missing[1]

    def _read(self, index: ConfirmationIndex) -> SampleSpool:
        """Read both lists into a spool; again if they changed."""
        for _ in range(READINGS):
            self._counts = _Counts()
            index.begin_reading()
            moved: list[str] = []
            spool = SampleSpool(self._format.names_by_stem)
            try:
                self._read_once(spool, index, moved.append)
            except BaseException:
                spool.close()
                raise
            if not moved:
                return spool
            spool.close()
            log.warning("%s: it is read again", moved[0])
        raise ExportUnsteadyError(
            f"The samples of dataset {self._request.dataset_id} changed each of the {READINGS} times that they were "
            "read, so the export would not be complete. Nothing was written. Run the task again when nobody labels."
        )

    def _read_once(self, spool: SampleSpool, index: ConfirmationIndex, on_move: Callable[[str], None]) -> None:
        """Read the proposals first: what is confirmed in between is then found among the labeled samples."""
        dataset_id = self._request.dataset_id
        with SampleSpool(None) as proposed:
            if self._request.include_proposals:
                for sample in self._progress(self._client.proposals.list(dataset_id, on_move=on_move)):
                    self._prepare(sample, proposed, is_proposal=True)
            labeled = self._client.samples.list(dataset_id, sample_state=LABELED, on_move=on_move)
            for sample in self._progress(labeled):
                if sample.oddity is None and not sample.labels:
                    continue  # the service lists more than was asked for
                verdict = index.look_up(sample)
                self._counts.values["confirmed"] += verdict.confirmation is not None
                self._counts.values["changed_since"] += verdict.is_changed
                self._prepare(sample, spool, confirmation=verdict.confirmation)
            for proposal in proposed.samples():
                self._take(proposal, spool)

    def _progress(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        told = self._clock.now()
        for number, sample in enumerate(samples, start=1):
            if self._should_stop():
                raise ExportStoppedError(
                    f"Asked to stop while the samples of dataset {self._request.dataset_id} were read. Nothing was "
                    "written. Run the task again."
                )
            now = self._clock.now()
            if now - told >= PROGRESS_SECONDS:
                told = now
                self._on_progress(number)
            yield sample

    def _prepare(
        self,
        sample: Sample,
        spool: SampleSpool,
        *,
        is_proposal: bool = False,
        confirmation: dict[str, Any] | None = None,
    ) -> None:
        """Bring a sample into the form of an export; a proposal waits for the labeled samples."""
        if sample.oddity is not None:
            self._leave_out(sample.sample_id, [ExportFault(ODD, f"it is not as documented: {sample.oddity}")])
            return
        made, is_redacted = exported(sample, is_proposal=is_proposal)
        self._counts.values["redacted"] += is_redacted
        made.confirmation = confirmation
        plan = self._request.plan
        planned = None if plan is None else plan.index.find(sample.sample_id)
        if planned is not None:
            made.planned = {"decision": planned[0].action, "rule": planned[0].rule}
        if is_proposal:
            spool.add(made)
        else:
            self._take(made, spool)

    def _take(self, sample: ExportedSample, spool: SampleSpool) -> None:
        """Add a sample, unless something is in the way."""
        if not spool.is_new(sample.sample_id):
            return
        faults = {place: fault for place, label in enumerate(sample.kept) if (fault := self._fault_of(label, sample))}
        sample.keep_all_but(faults)
        fault = self._format.fault_of_sample(sample)
        found = [*faults.values(), *([] if fault is None else [fault])]
        goes_on = fault is None and (not faults or self._request.on_problem == "leave_out_labels")
        if not goes_on or not sample.kept:
            self._leave_out(sample.sample_id, found)
            return
        counts = self._counts
        self._note(sample.sample_id, found)
        counts.values["seen"] += 1
        counts.values["proposals" if sample.is_proposal else "samples"] += 1
        counts.values["labels"] += len(sample.kept)
        counts.values["labels_left_out"] += len(faults)
        names = different([label.name for label in sample.kept])
        counts.names.update(names)
        if not sample.is_proposal:
            counts.by_label.update(names)
        spool.add(sample)

    def _fault_of(self, label: ExportedLabel, sample: ExportedSample) -> ExportFault | None:
        classes = self._request.classes
        if classes is not None and label.name not in classes:
            return ExportFault("unknown_class", "a label is none of the classes that were given")
        return self._format.fault_of_label(label, sample)

    def _leave_out(self, sample_id: str, faults: Sequence[ExportFault]) -> None:
        self._counts.values["seen"] += 1
        self._counts.values["left_out"] += 1
        self._note(sample_id, faults)

    def _note(self, sample_id: str, faults: Sequence[ExportFault]) -> None:
        """Note the faults of a sample, each code once."""
        for fault in {fault.code: fault for fault in faults}.values():
            self._counts.problems.add(fault, sample_id)

    def _facts(self) -> dict[str, Any]:
        """Return what ``export.json`` says beside the files."""
        request, counts = self._request, self._counts
        plan = request.plan
        return {
            **counts.values,
            "confirmed_missing": self._missing[0],
            "by_label": bounded_counts(counts.by_label),
            "problems": {
                code: {"count": one.count, "message": one.message, "samples": list(one.samples)}
                for code, one in counts.problems.by_code.items()
            },
            "plan": None if plan is None else {"uri": plan.uri, "sha256": plan.digest},
            "ledgers": [ledger.uri for ledger in request.ledgers][:_LEDGERS_SHOWN],
            "made_by": dict(request.made_by),
            "created_at": datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds"),
        }


class _Contents:
    """What is written: the samples that were kept, and the numbers of their labels."""

    def __init__(self, spool: SampleSpool, request: ExportRequest, names: Iterable[str]) -> None:
        self._spool = spool
        self._format = FORMATS[request.format]
        self.classes = sorted(names) if request.classes is None else list(request.classes)
        self.place = _place(request.path)

    def samples(self) -> Iterator[ExportedSample]:
        """Yield the samples in the order in which they were read."""
        return self._spool.samples()

    def files(self) -> Iterator[ExportFile]:
        """Yield the files: those of the format, and the one that every export has."""
        yield samples_file(self)
        yield from self._format.files(self)


def _place(path: StoragePath) -> str:
    """Return the folder as other programs name it: without a connection, and by the plain name of its storage."""
    text = display_uri(path).rstrip("/")
    scheme, separator, rest = text.partition("://")
    if scheme == "file" and separator:
        return rest
    return f"s3://{rest}" if scheme in ("s3a", "s3n") else text
