"""Reads what a person answered on Airflow's page of required actions: who, when, and what was rejected."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.clock import is_certainly_before
from airflow_provider_modelarts.client.validation import as_label, decoded, shown
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators import _parameters as parameters

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.plan.narrowing import Rejections
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan

REJECT_SAMPLES = "reject_samples"
REJECT_LABELS = "reject_labels"
AUDIT_ANSWERS = "audit_answers"
"""Answers about samples drawn for the audit. Those go to people whatever is answered, so confirming ignores them."""
APPROVE, REJECT = "Approve", "Reject"
"""The options of an ``ApprovalOperator``."""
_KNOWN = (REJECT_SAMPLES, REJECT_LABELS, AUDIT_ANSWERS)


class Approval(NamedTuple):
    """An answer that lets a plan be applied.

    :param by: who gave it; None if that is not known
    :param at: when, ISO 8601; None if that is not known
    :param answers: the further fields of the answer that are not empty, by name
    :param plan_digest: of the plan that was shown; None if the answer does not say
    """

    by: str | None = None
    at: str | None = None
    answers: Mapping[str, Any] = {}
    plan_digest: str | None = None

    def check_plan(self, name: str, plan: Plan) -> None:
        """Refuse another plan than the one that was shown. Of an answer that names none only its time can tell.

        :raises ParameterError: if the answer is about another plan
        """
        if self.plan_digest is not None and self.plan_digest != plan.digest:
            raise ParameterError(
                f"{name} is an answer about the plan with the digest {self.plan_digest}, and the plan {plan.uri} has "
                f"the digest {plan.digest}: nobody has approved it. Nothing was written. Clear the task that asks, so "
                "that a person sees this plan."
            )
        if self.plan_digest is None and is_before(self.at, plan.completed_at):
            raise ParameterError(
                f"{name} was given at {self.at}, before the plan {plan.uri} was complete: it is about another one. "
                "Nothing was written. Clear the task that asks, so that a person sees this plan."
            )

    def rejections(self, name: str) -> Rejections:
        """Return what was rejected.

        :raises ParameterError: for a field that this version does not know: it may say what must not be confirmed
        """
        from airflow_provider_modelarts.labeling.plan.narrowing import Rejections

        for field in self.answers:
            if field not in _KNOWN:
                raise ParameterError(
                    f"{name} has the answer {field}={shown(self.answers[field])}, which says nothing to this operator. "
                    f"Nothing was sent, as it may say what must not be confirmed. Known are {', '.join(_KNOWN)}; take "
                    "other params out of the approval."
                )
        return Rejections(
            frozenset(_texts(name, REJECT_SAMPLES, self.answers.get(REJECT_SAMPLES))),
            frozenset(_texts(name, REJECT_LABELS, self.answers.get(REJECT_LABELS))),
        )


def read_approval(name: str, value: object) -> Approval:
    """Return an approval from what an ``ApprovalOperator`` returns.

    :param name: of the parameter, for errors
    :param value: the output, or the text that a template made of it
    :raises ParameterError: if anything but "Approve" was chosen, or nothing, or if it cannot be read
    """
    if isinstance(value, str):
        value = _from_text(name, value)
    if not isinstance(value, Mapping) or "chosen_options" not in value:
        raise ParameterError(
            f"{name} is no output of an approval: {shown(value)}. Nothing was sent. Give the output of the "
            "ApprovalOperator (approve.output)."
        )
    chosen = value.get("chosen_options")
    if not chosen:
        raise ParameterError(f"{name} says that nobody has chosen an option. Nothing was sent.")
    if REJECT in chosen:
        raise ParameterError(f"{name} says that the plan was rejected. Nothing was sent.")
    if not isinstance(chosen, (list, tuple)) or [*chosen] != [APPROVE]:
        raise ParameterError(
            f'{name} says that {shown(chosen)} was chosen, and only "{APPROVE}" approves. Nothing was sent. Ask with '
            "an ApprovalOperator."
        )
    answers, digest = value.get("params_input"), value.get("plan_digest")
    if answers is not None and not isinstance(answers, Mapping):
        raise ParameterError(f"{name} has answers that cannot be read: {shown(answers)}. Nothing was sent.")
    user, at = value.get("responded_by_user"), value.get("responded_at")
    by = user.get("name") or user.get("id") if isinstance(user, Mapping) else user
    return Approval(
        str(by) if by else None,
        None if at is None else str(at.isoformat() if hasattr(at, "isoformat") else at),
        {str(field): answer for field, answer in (answers or {}).items() if not _is_empty(answer)},
        None if digest is None else str(digest),
    )


def is_before(at: str | None, time: float) -> bool:
    """Whether an answer was certainly given before a time; Airflow's API server notes it by its own clock.

    :param at: when it was given, ISO 8601; None if that is not known
    :param time: epoch seconds
    """
    try:
        found = None if at is None else datetime.fromisoformat(at)
    except ValueError:
        return False
    return found is not None and found.tzinfo is not None and is_certainly_before(found.timestamp(), time)


def approver(name: str, value: object) -> Approval | None:
    """Return who approved, from a name or from what an ``ApprovalOperator`` returns; None if nobody was asked.

    :raises ParameterError: as :func:`read_approval`, and if the answer rejects a part of the plan: who only notes the
        name would confirm it
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) and not (isinstance(value, str) and "chosen_options" in value):
        return Approval(parameters.identifier(name, value))
    approval = read_approval(name, value)
    if approval.answers:
        raise ParameterError(
            f"{name} holds more than who approved: {', '.join(approval.answers)}. Nothing was sent. Give it as "
            "approval=approve.output, so that what was rejected is not confirmed."
        )
    return approval


def _from_text(name: str, text: str) -> object:
    """Return the dict of which a template made a text: JSON, or Python in which the time is no literal."""
    found = decoded(text.strip(), name)
    if isinstance(found, Mapping):
        return found
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        keys = [ast.literal_eval(key) for key in tree.keys]  # type: ignore[attr-defined]
        pairs = dict(zip(keys, tree.values, strict=True))  # type: ignore[attr-defined]
        return {key: _time(value) if key == "responded_at" else ast.literal_eval(value) for key, value in pairs.items()}
    except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
        raise ParameterError(
            f"{name} is the text of an approval's output and cannot be read. Nothing was sent. Give the output "
            "itself (approve.output)."
        ) from None


def _time(shown_as: ast.expr) -> object:
    """Return a time of UTC that Python shows as a call, in ISO 8601; any other that is no literal as it is shown."""
    if not isinstance(shown_as, ast.Call):
        return ast.literal_eval(shown_as)
    if any(keyword.arg == "tzinfo" and "UTC" in ast.unparse(keyword.value).upper() for keyword in shown_as.keywords):
        return datetime(*map(ast.literal_eval, shown_as.args), tzinfo=UTC).isoformat()  # type: ignore[misc]
    return ast.unparse(shown_as)


def _is_empty(answer: object) -> bool:
    return answer is None or (isinstance(answer, (str, list, tuple, set, dict)) and not answer)


def _texts(name: str, field: str, value: object) -> list[str]:
    """Return the ids or names of a field; each counts, so one that cannot be read refuses all."""
    value = decoded(value)
    texts = [as_label(one) for one in value] if isinstance(value, (list, tuple)) else [None]
    if value is not None and None in texts:
        raise ParameterError(
            f"{name} has {field}={shown(value)}: a list of texts is wanted. Nothing was sent, as it says what must not "
            "be confirmed."
        )
    return [text for text in texts if text is not None]
