"""The file that holds the evidence for a plan: JSON Lines, sealed as plans are.

The first line says for which plan and by what rules; then comes a line for each label, then one for each answered
sample. The last line counts them and holds the digest of all bytes before it. Whoever uses it counts once more: no
number in it is trusted that does not follow from the plan and the answers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.evidence.judgement import Judgement, find_judgement, record_judgement
from airflow_provider_modelarts.labeling.evidence.statistics import Audited, Proof
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.sample_facts import facts_of_row
from airflow_provider_modelarts.labeling.storage.path import display_uri
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.evidence.judging import Answer
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

FORMAT = "modelarts-audit-evidence"
VERSION = 1
NOT_PROVEN = Decision("review", "not_proven")


class EvidenceRefused(StorageDamaged):
    """The evidence is missing, damaged, for another plan, or not the first, so nothing may be confirmed by it."""


@dataclass(frozen=True)
class EvidenceHeader:
    """For which plan evidence speaks, and by what rules it was made.

    :param dataset_id: the dataset
    :param plan_uri: the plan
    :param plan_digest: its digest
    :param target_precision: the share that is to be right, for each label
    :param confidence: how sure the whole proof is
    :param iou: how far two boxes must overlap to count as the same
    :param answers_from: where the answers were read: "dataset", "team_task" or "given"
    :param excluded: audited samples that this package itself had labeled
    :param made_by: who made it: dag, run, task ...; JSON primitives
    :param created_at: epoch seconds
    """

    dataset_id: str
    plan_uri: str
    plan_digest: str
    target_precision: float
    confidence: float
    iou: float
    answers_from: str
    excluded: int = 0
    made_by: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0


class AnsweredSample(NamedTuple):
    """What a person said of an audited sample.

    :param sample_id: the sample
    :param label: the first label of the proposal
    :param score: its lowest score
    :param right: the proposal was left as it was
    :param names: the label names that the person gave
    """

    sample_id: str
    label: str
    score: float
    right: bool
    names: tuple[str, ...]


class LabelEvidence(NamedTuple):
    """What is proven of a label.

    :param label: the label: the first of its samples
    :param proposals: how many the audit speaks for
    :param drawn: how many of them were drawn
    :param answered: how many of those people have answered
    :param proof: what that proves
    """

    label: str
    proposals: int
    drawn: int
    answered: int
    proof: Proof

    @property
    def counted(self) -> tuple[Any, ...]:
        """What counting must give once more; logarithms may differ in their last digits between machines."""
        return (*self[:-1], self.proof.threshold, self.proof.counts)

    def line(self) -> dict[str, Any]:
        """Return it as the file holds it."""
        proof = self.proof._asdict()
        return {**self._asdict(), "proof": {**proof, "counts": self.proof.counts._asdict()}}


@dataclass(frozen=True)
class Evidence:
    """What answers prove of a plan. As a narrowing it leaves to people what is not proven.

    :param header: for which plan, by what rules
    :param labels: what is proven of each label, by name
    :param answers: each answered sample
    :param digest: of the file; empty until it is stored
    :param uri: where the file is, for people
    """

    header: EvidenceHeader
    labels: tuple[LabelEvidence, ...]
    answers: tuple[AnsweredSample, ...]
    digest: str = ""
    uri: str = ""

    @cached_property
    def min_score_by_label(self) -> dict[str, float]:
        """The lowest proven score of each label of which something is proven."""
        return {one.label: one.proof.threshold for one in self.labels if one.proof.threshold is not None}

    @cached_property
    def most_proposals_first(self) -> list[LabelEvidence]:
        """The labels in the order of reports."""
        return sorted(self.labels, key=lambda one: (-one.proposals, one.label))

    @cached_property
    def wrong_by_label(self) -> Counter[str]:
        """Of each label how many proposals people found wrong."""
        return Counter(one.label for one in self.answers if not one.right)

    def bounds(self) -> dict[str, dict[str, Any]]:
        """Return for each label of which something is proven the share that is right, for records of the run."""
        target = self.header.target_precision
        return {
            one.label: {"bound": one.proof.bound, "target": target, "answered": one.proof.counts.audited}
            for one in self.labels
            if one.proof.threshold is not None
        }

    def terms(self) -> Mapping[str, Any]:
        """Return what the narrowed plan says of the evidence."""
        return {"evidence_digest": self.digest, "evidence_uri": self.uri}

    def check(self, plan: Plan) -> None:
        """Refuse a plan that this is no evidence for, or that was judged by other evidence.

        :raises EvidenceRefused: saying what does not fit
        """
        self.check_numbers(plan)
        judged = find_judgement(plan)
        if judged is None:
            raise self._refused(
                "nothing beside the plan says that its evaluation has ended",
                "Clear the task that evaluates its audit: the evidence that is there is kept, and counts then.",
            )
        if judged.evidence_digest != self.digest:
            raise _judged_already(plan, judged)

    def check_numbers(self, plan: Plan) -> None:
        """Refuse a plan that this is not about, and numbers that do not follow from the plan and the answers.

        :raises EvidenceRefused: saying what does not fit
        """
        header = self.header
        if (header.plan_digest, header.dataset_id) != (plan.digest, plan.header.dataset_id):
            raise self._refused(
                f"it was made for the plan with the digest {header.plan_digest[:12]}, and the plan {plan.uri} has "
                f"{plan.digest[:12]}: that is another plan, or it was changed"
            )
        audited = AuditedPlan(plan)
        asked = (audited.target, audited.policy.confidence)
        if (header.target_precision, header.confidence) != asked:
            raise self._refused(
                f"it is about the target and confidence {header.target_precision:g} and {header.confidence:g}, and the "
                f"plan has {asked[0]:g} and {asked[1]:g}"
            )
        recounted = label_evidence(audited, {one.sample_id: one.right for one in self.answers})
        if [one.counted for one in self.labels] != [one.counted for one in recounted]:
            raise self._refused("its numbers do not follow from the plan and the answers in it")

    def decide(self, row: SampleRow) -> Decision | None:
        """Return the decision about a proposal that is not proven; None if it may be confirmed."""
        facts = facts_of_row(row)
        threshold = self.min_score_by_label.get(facts.names[0]) if facts.names else None
        score = facts.lowest_score
        return None if threshold is not None and score is not None and score >= threshold else NOT_PROVEN

    def _refused(self, reason: str, advice: str = "Evaluate the audit of this plan.") -> EvidenceRefused:
        return EvidenceRefused(f"The evidence {self.uri} is refused: {reason}. Nothing was written. {advice}")


def label_evidence(audited: AuditedPlan, right: Mapping[str, bool]) -> tuple[LabelEvidence, ...]:
    """Return what answers prove of each label.

    :param right: for each answered sample whether its proposal was found right
    """
    proofs = audited.prove(right)
    return tuple(
        LabelEvidence(
            label,
            len(population.scores),
            len(population.drawn),
            sum(sample_id in right for sample_id in population.drawn),
            proofs[label],
        )
        for label, population in sorted(audited.populations.items())
    )


def gathered(audited: AuditedPlan, header: EvidenceHeader, answers: Mapping[str, Answer]) -> Evidence:
    """Return the evidence that answers to a plan's audit are.

    :param header: for this plan
    :param answers: by sample id
    """
    samples = tuple(
        AnsweredSample(sample_id, label, score, *answers[sample_id])
        for label, population in sorted(audited.populations.items())
        for sample_id, score in sorted(population.drawn.items())
        if sample_id in answers
    )
    return Evidence(header, label_evidence(audited, {one.sample_id: one.right for one in samples}), samples)


def first_evidence(path: StoragePath, plan: Plan) -> Evidence | None:
    """Return the evidence that an earlier evaluation of a plan has stored; None if the plan was not judged yet.

    :param path: where it is to be
    :raises EvidenceRefused: if the plan was judged by evidence that is not there, or if what is there does not fit
    """
    found, judged = find_evidence(path), find_judgement(plan)
    if found is not None and found.header.plan_digest == plan.digest:
        found.check_numbers(plan)
        return _judging(plan, found)  # the try that stored it may have ended before it said so
    if judged is not None:
        raise _judged_already(plan, judged)
    return None


def store_evidence(path: StoragePath, plan: Plan, evidence: Evidence) -> Evidence:
    """Store evidence, and note beside the plan that it judges it; return what counts.

    That is what an earlier try has stored there, if it is about the same plan.

    :param path: where to; evidence for another plan is replaced
    :param plan: what it is about
    :raises EvidenceRefused: if the plan was judged by evidence elsewhere
    :raises NotStoredError: if neither this evidence nor an earlier one lies there afterwards
    """
    first: list[Evidence] = []

    def is_of_this_plan() -> bool:
        found = find_evidence(path)
        first[:] = [found] if found is not None and found.header.plan_digest == evidence.header.plan_digest else []
        return bool(first)

    with SealedWriter(path, keeps=is_of_this_plan) as file:
        file.write(encode_line({"format": FORMAT, "version": VERSION, **asdict(evidence.header)}))
        for label in evidence.labels:
            file.write(encode_line(label.line()))
        for answer in evidence.answers:
            file.write(encode_line(answer._asdict()))
        digest = file.seal(_facts(evidence))
    return _judging(plan, first[0] if first else replace(evidence, digest=digest, uri=display_uri(path)))


def _judging(plan: Plan, evidence: Evidence) -> Evidence:
    """Return evidence once it is what the plan was judged by.

    :raises EvidenceRefused: if other evidence came first
    """
    judged = record_judgement(plan, Judgement(evidence.digest, evidence.uri))
    if judged.evidence_digest != evidence.digest:
        raise _judged_already(plan, judged)
    return evidence


def _judged_already(plan: Plan, judged: Judgement) -> EvidenceRefused:
    return EvidenceRefused(
        f"The plan {plan.uri} was judged already, and a plan is judged once: what counts is the evidence stored at "
        f"{judged.evidence_uri} with the digest {judged.evidence_digest[:12]}. Nothing was written to the dataset. "
        "Give that as evidence_uri. If it is gone, or if more answers are to count, plan again with another seed."
    )


def find_evidence(path: StoragePath) -> Evidence | None:
    """Return the evidence at a place; None if nothing is there, or nothing whole."""
    try:
        return read_evidence(path)
    except EvidenceRefused:
        return None


def read_evidence(path: StoragePath) -> Evidence:
    """Read evidence and check that it is what was written; whether it fits a plan, :meth:`Evidence.check` says.

    :raises EvidenceRefused: if it is not there, not complete, altered, or something else
    """
    file = SealedReader(path)

    def refused(reason: str) -> EvidenceRefused:
        return EvidenceRefused(
            f"The evidence {display_uri(path)} is refused: {reason}. Nothing was written. Evaluate the audit of the "
            "plan first, or correct evidence_uri."
        )

    try:
        header, *lines = [decode_object(line) or {} for line in file.lines()] or [{}]
        if (header.pop("format", None), header.pop("version", None)) != (FORMAT, VERSION):
            raise refused(f"it is no evidence of version {VERSION}")
        labels = tuple(_label(line) for line in lines if "proof" in line)
        answers = tuple(_answer(line) for line in lines if "proof" not in line)
        evidence = Evidence(EvidenceHeader(**header), labels, answers, uri=display_uri(path))
        return replace(evidence, digest=file.check(_facts(evidence)))
    except EvidenceRefused:
        raise
    except StorageDamaged as error:
        raise refused(error.message) from None
    except (KeyError, TypeError):
        raise refused("a line in it is not as it must be") from None


def _label(line: dict[str, Any]) -> LabelEvidence:
    proof = line["proof"]
    return LabelEvidence(**{**line, "proof": Proof(**{**proof, "counts": Audited(**proof["counts"])})})


def _answer(line: dict[str, Any]) -> AnsweredSample:
    return AnsweredSample(**{**line, "names": tuple(line["names"])})


def _facts(evidence: Evidence) -> dict[str, Any]:
    return {"labels": len(evidence.labels), "answers": len(evidence.answers)}
