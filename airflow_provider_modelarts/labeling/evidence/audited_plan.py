"""What a plan says of its audit: the proposals of each label that it speaks for, and those that were drawn."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.audit import SizedDraw, is_in_share
from airflow_provider_modelarts.labeling.evidence.statistics import Proof, ScoreList
from airflow_provider_modelarts.labeling.plan.plan_file import DRIFTED, PlanRefused
from airflow_provider_modelarts.labeling.policy import AUDITED, facts_of_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.policy import ConfirmPolicy


@dataclass
class Population:
    """The proposals of one first label that all other rules of the policy let through.

    :param scores: of each of them its lowest score
    :param drawn: the same of those that were drawn for the audit, by sample id
    :param drawn_from: among how many they were drawn: of those some may be held back since, as their labels drifted
    """

    scores: array[float] = field(default_factory=lambda: array("d"))
    drawn: dict[str, float] = field(default_factory=dict)
    drawn_from: int = 0

    def share(self, policy: ConfirmPolicy) -> float:
        """Return the share that was to be drawn."""
        return policy.audit_share if policy.audit_size is None else min(1.0, policy.audit_size / self.drawn_from)


class AuditedPlan:
    """A plan whose policy has a target.

    :param plan: the plan, as it was made: not one that was narrowed already
    :raises InvalidRequest: if its policy has no target
    :raises PlanRefused: if its audit is not the one that its seed draws
    """

    def __init__(self, plan: Plan) -> None:
        policy = plan.policy
        if policy is None or policy.target_precision is None:
            raise InvalidRequest(
                f"The plan {plan.uri} has no target_precision in its policy, so there is nothing to prove. Plan with "
                "target_precision and an audit."
            )
        if plan.header.narrowed_by is not None:
            raise PlanRefused(
                f"The plan {plan.uri} was made of another by taking confirmations back. Evidence speaks for the plan "
                "as it was made: give that one."
            )
        self.plan = plan
        self.policy = policy
        self.target: float = policy.target_precision
        self.populations: dict[str, Population] = {}
        """By first label."""
        self.rows: dict[str, SampleRow] = {}
        """The proposals that were drawn, by sample id."""
        took_part, held_back = self._collect()
        for label, count in Counter(label for label, _ in took_part).items():
            if label in self.populations:
                self.populations[label].drawn_from = count
        self._check_draw(took_part, held_back)

    def _collect(self) -> tuple[list[tuple[str, str]], set[str]]:
        """Read the plan; return label and id of those who took part in the draw, and who of them was held back."""
        took_part: list[tuple[str, str]] = []
        held_back: set[str] = set()
        for row, decision in self.plan.samples():
            is_drawn = decision == AUDITED
            is_held = decision == DRIFTED
            if not is_drawn and not is_held and decision.action != "confirm":
                continue
            facts = facts_of_row(row)
            if facts.lowest_score is None or not facts.has_labels:
                raise self._refused(f"sample {row.sample_id or '(no id)'} has no score or no label")
            label = facts.names[0]
            took_part.append((label, row.sample_id))
            if is_held:
                held_back.add(row.sample_id)
                continue
            population = self.populations.setdefault(label, Population())
            population.scores.append(facts.lowest_score)
            if is_drawn:
                population.drawn[row.sample_id] = facts.lowest_score
                self.rows[row.sample_id] = row
        return took_part, held_back

    @property
    def risk(self) -> float:
        """The probability with which the proof of each label may be wrong, so that all of them hold together."""
        return (1 - self.policy.confidence) / max(1, len(self.populations))

    def prove(self, answers: Mapping[str, bool]) -> dict[str, Proof]:
        """Return what answers prove of each label; labels in order of their names.

        :param answers: for each answered sample whether its proposal was found right
        """
        return {name: self._proof(self.populations[name], answers) for name in sorted(self.populations)}

    def _proof(self, population: Population, answers: Mapping[str, bool]) -> Proof:
        drawn = population.drawn.items()
        answered = [(score, answers[sample_id]) for sample_id, score in drawn if sample_id in answers]
        scores = ScoreList(population.scores, population.share(self.policy), answered)
        return scores.prove(self.target, self.risk)

    def _check_draw(self, members: list[tuple[str, str]], held_back: set[str]) -> None:
        """Check that those were drawn whom the seed draws: others were chosen after somebody had looked.

        :param members: label and id of those who took part in the draw
        :param held_back: those of them who were left to people afterwards, drawn or not
        """
        policy = self.policy
        if policy.audit_size is None:
            drawn = {one for _, one in members if is_in_share(policy.audit_share, policy.seed, one)}
        else:
            draw = SizedDraw(policy.audit_size, policy.seed)
            for label, sample_id in members:
                draw.add(label, sample_id)
            drawn = draw.drawn()
        drawn -= held_back
        if drawn != self.rows.keys():
            raise self._refused(
                f"its audit has {len(self.rows)} samples, and {len(drawn ^ self.rows.keys())} are not as its seed "
                "draws them"
            )

    def _refused(self, reason: str) -> PlanRefused:
        return PlanRefused(
            f"The plan {self.plan.uri} cannot be proven: {reason}. Nothing was written. Was the plan changed, or made "
            "by another version? Make a new plan."
        )
