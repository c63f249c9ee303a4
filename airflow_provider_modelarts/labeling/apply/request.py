"""What a confirmation is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import validate_scores
from airflow_provider_modelarts.labeling.filters import checked_filters, checked_label
from airflow_provider_modelarts.labeling.policy import parse_policy

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget
    from airflow_provider_modelarts.labeling.plan.baseline import Baseline
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.policy import ConfirmPolicy
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

MAX_CONCURRENCY = 64


@dataclass(frozen=True)
class ConfirmationRequest:
    """Which proposals to confirm, by which rules, and how; its values are checked already (:meth:`checked`).

    :param dataset_id: the dataset
    :param policy: what may be confirmed; None: everything that has labels, or what the plan says
    :param label_name: only proposals with this label; a sample is confirmed with all its labels nevertheless
    :param first_label: only proposals whose first label has this name: tasks that each take one label of a dataset
        share it without overlap
    :param label_type: only proposals with a label of this type, see ``LabelType``
    :param low_score: only proposals with at least this score, 0 to 1, as the service's list filters them
    :param high_score: only proposals with at most this score
    :param search_conditions: only proposals that meet these conditions (contract 3.1), as the service searches them
    :param batch_size: samples per write; a page of 100 is the most that is written at once
    :param concurrency: requests in flight at once, 1 to 64; fewer while the service throttles
    :param preview: decide about everything and check the guards, but write and store nothing; ``confirmed`` is what
        would be confirmed, were it not for a guard that does not hold
    :param plan: the plan to apply, or the place where it is; if nothing is there, it is made and stored there first
    :param baseline: the earlier plan that the policy's ``max_drift`` is judged by, when a plan is made; None: there is
        none yet. A plan that is there already was judged when it was made
    :param ledger: where to record what is written; the plan is stored there too unless it has a place of its own
    """

    dataset_id: str
    policy: ConfirmPolicy | None = None
    label_name: str | None = None
    first_label: str | None = None
    label_type: int | None = None
    low_score: float | None = None
    high_score: float | None = None
    search_conditions: list[dict[str, Any]] | None = None
    batch_size: int = 100
    concurrency: int = 8
    preview: bool = False
    plan: Plan | StoragePath | None = None
    baseline: Baseline | None = None
    ledger: LedgerTarget | None = None

    @classmethod
    def checked(cls, dataset_id: str, **given: Any) -> ConfirmationRequest:
        """Return a request; a policy may be a dict or JSON, and a number may be a text.

        :param given: the other parameters of the class
        :raises InvalidPolicy: for a policy that cannot be understood
        :raises InvalidRequest: for another parameter that is wrong
        """
        asked = cls(dataset_id, **given)
        label_name = checked_label("label_name", asked.label_name)
        first_label = checked_label("first_label", asked.first_label)
        if None not in (label_name, first_label) and label_name != first_label:
            raise InvalidRequest("Give label_name or first_label, not both: they name different labels.")
        low, high = validate_scores(asked.low_score, asked.high_score)
        return replace(
            asked,
            policy=parse_policy(asked.policy),
            low_score=None if low is None else float(low),
            high_score=None if high is None else float(high),
            **checked_filters({"label_type": asked.label_type, "search_conditions": asked.search_conditions}),
            batch_size=_whole_number("batch_size", asked.batch_size),
            concurrency=_whole_number("concurrency", asked.concurrency, MAX_CONCURRENCY),
        )

    @property
    def filters(self) -> dict[str, Any]:
        """The filters of the list, each only if it is to be sent."""
        filters = {
            "label_name": self.first_label if self.label_name is None else self.label_name,
            "label_type": self.label_type,
            "low_score": self.low_score,
            "high_score": self.high_score,
            "search_conditions": self.search_conditions,
        }
        return {name: value for name, value in filters.items() if value is not None}

    @property
    def plan_terms(self) -> dict[str, Any]:
        """What a plan is made for, as ``make_plan`` takes it and ``Plan.check_made_for`` compares it."""
        return {
            "dataset_id": self.dataset_id,
            "policy": self.policy,
            "filters": self.filters,
            "first_label": self.first_label,
        }


def _whole_number(name: str, value: object, most: int | None = None) -> int:
    try:
        number = int(value)  # type: ignore[call-overload]  # anything else is a TypeError
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number < 1 or (most is not None and number > most):
        upto = f" to {most}" if most is not None else ""
        raise InvalidRequest(f"{name} must be a whole number from 1{upto}, not {value!r}.")
    return int(number)
