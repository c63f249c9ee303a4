"""Rules that decide about each proposal: confirm it, leave it to a person (review), or leave it alone.

Pure: the same policy and the same sample always give the same decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest
from airflow_provider_modelarts.client.validation import as_label, as_number, decoded, is_blank, shown
from airflow_provider_modelarts.client.wording import first_of
from airflow_provider_modelarts.labeling.audit import is_in_share
from airflow_provider_modelarts.labeling.sample_facts import SampleFacts, facts_of, facts_of_row

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.client.sample_rows import SampleRow

Action = Literal["confirm", "review", "leave"]
ACTIONS: tuple[Action, ...] = get_args(Action)
OnDrift = Literal["fail", "review", "warn"]


class InvalidPolicy(InvalidRequest, ValueError):  # noqa: N818 - named like the other refusals of the client
    """The policy cannot be understood or contradicts itself; nothing was read or written."""


class GuardFailed(ConfirmationError):  # noqa: N818 - named like the other outcomes of the client
    """A guard of the policy does not hold for what would be confirmed; nothing was written."""

    permanent = True


class Decision(NamedTuple):
    """What to do with a proposal, and the name of the rule that decided (one of :data:`RULES`)."""

    action: Action
    rule: str


# Pydantic collects ValueError only, so these do not raise the errors of client/validation.py.


def _number(value: object) -> float | int:
    number = as_number(value)
    if number is None:
        raise ValueError("a number is wanted, and a finite one")
    return number


def _whole(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("a whole number is wanted")
    return int(number)


def _names(value: object) -> tuple[str, ...]:
    value = decoded(value)
    # Not list alone: the outputs of mapped tasks come as a sequence that is read as it is needed.
    is_list = isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray))
    names = [as_label(name) for name in value] if is_list else []  # type: ignore[attr-defined]
    if not names or None in names:
        raise ValueError(
            'a list of label names is wanted, as in ["rose", "tulip"]: at least one label name, and none may be empty; '
            "leave the key out to allow all"
        )
    return tuple(sorted(filter(None, names))) if isinstance(value, Set) else tuple(filter(None, names))


def _thresholds(value: object) -> dict[str | None, Any]:
    given = decoded(value)
    found = {as_label(name): score for name, score in given.items()} if isinstance(given, Mapping) else None
    if found is None or None in found or len(found) < len(given):  # type: ignore[arg-type]
        raise ValueError('a score for each label name is wanted, as in {"rose": 0.95}')
    return found


def _uri(value: object) -> str:
    if not isinstance(value, str) or is_blank(value):
        raise ValueError("a URI is wanted; see what its template renders to, or leave the key out")
    if "?" in value:
        raise ValueError("a URI without a question mark is wanted: what follows it may be a signature")
    return value.strip()


def _seed(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("a whole number or a text is wanted")  # noqa: TRY004 - pydantic collects ValueError only
    return str(value)


def _optional(check: Callable[[object], object]) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None else check(value))


Score = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
OptionalScore = Annotated[float | None, _optional(_number), Field(ge=0, le=1)]

_CONFIDENCE = 0.95
_SEED = "0"


class ConfirmPolicy(BaseModel):
    """When a proposal may become final without a person looking at it.

    The first rule of :data:`RULES` that applies decides; a policy without any rule still leaves hard examples to
    people. Numbers may be given as text, because templates render them so.

    :param labels: label names that may be confirmed; default: every name. A whole number counts as its digits
    :param min_score: lowest score, 0 to 1, that each label of a sample needs; a score equal to it passes, one that is
        not from 0 to 1 does not; default: no threshold
    :param min_score_by_label: the same for single label names, and for those instead of ``min_score``
    :param hard_examples: "review" (default) leaves samples that the service found hard to people, "confirm" does not
    :param audit_share: share, 0 to 1, of what would be confirmed that goes to people instead, to measure the
        machine; default 0. Who is drawn depends on ``seed`` and the sample's id alone
    :param audit_size: instead of ``audit_share``: so many samples for each first label; it needs a plan
    :param seed: number or text that the audit's draw depends on; default 0
    :param target_precision: share, inside 0 to 1, of the proposals of each label that is to be right: a plan by this
        policy is confirmed only as far as the answers to its audit prove that; default: no such target. It needs an
        audit, a ``seed`` that no earlier plan of the dataset had, and a plan
    :param confidence: how sure that proof is to be, inside 0 to 1: default 0.95
    :param evidence_uri: where the evidence of the plan is; default: whoever confirms says so
    :param max_samples: guard: at most so many samples may be confirmed by one run
    :param max_share_per_label: guard: among the samples to be confirmed, at most this share (above 0, up to 1)
        may have one and the same label: a machine that sees one label everywhere is broken
    :param min_samples: guard: at least so many samples must be confirmed by one run
    :param max_drift: guard: how far labels, their scores and the share of hard examples may move since an earlier plan,
        as a population stability index above 0; 0.1 is usual. Where there are few samples, a higher limit applies that
        chance alone does not exceed; see ``labeling.drift``. Default: nothing is compared
    :param baseline_plan_uri: the earlier plan; default: the one that was applied last to the dataset with the same
        filters, as the ledger says
    :param on_drift: "fail" (default): nothing is confirmed if something moved. "review": what carries a label that
        moved goes to people, and all proposals if what moved is not of single labels. "warn": it is only said
    :raises pydantic.ValidationError: for a value out of its range; :func:`parse_policy` turns it into one line
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    labels: Annotated[tuple[str, ...] | None, _optional(_names)] = None
    min_score: OptionalScore = None
    min_score_by_label: Annotated[dict[str, Score], BeforeValidator(_thresholds)] = Field(default_factory=dict)
    hard_examples: Literal["review", "confirm"] = "review"
    audit_share: Score = 0.0
    audit_size: Annotated[int | None, _optional(_whole), Field(ge=1)] = None
    seed: Annotated[str, BeforeValidator(_seed)] = _SEED
    target_precision: Annotated[float | None, _optional(_number), Field(gt=0, lt=1)] = None
    confidence: Annotated[float, BeforeValidator(_number), Field(gt=0, lt=1)] = _CONFIDENCE
    evidence_uri: Annotated[str | None, _optional(_uri)] = None
    max_samples: Annotated[int | None, _optional(_whole), Field(ge=1)] = None
    max_share_per_label: Annotated[float | None, _optional(_number), Field(gt=0, le=1)] = None
    min_samples: Annotated[int | None, _optional(_whole), Field(ge=0)] = None
    max_drift: Annotated[float | None, _optional(_number), Field(gt=0)] = None
    baseline_plan_uri: Annotated[str | None, _optional(_uri)] = None
    on_drift: OnDrift = "fail"

    @model_validator(mode="after")
    def _guards_can_hold(self) -> ConfirmPolicy:
        if self.max_samples is not None and (self.min_samples or 0) > self.max_samples:
            raise ValueError(f"min_samples {self.min_samples} is above max_samples {self.max_samples}")
        return self

    @model_validator(mode="after")
    def _evidence_can_be_had(self) -> ConfirmPolicy:
        if self.audit_share and self.audit_size is not None:
            raise ValueError("audit_share and audit_size are two ways to draw one audit; give one of them")
        if self.target_precision is None:
            if self.confidence != _CONFIDENCE or self.evidence_uri is not None:
                raise ValueError("confidence and evidence_uri say how target_precision is proven, which is missing")
            return self
        if not self.audit_share and self.audit_size is None:
            raise ValueError(
                "target_precision is proven by people's answers to a random audit; give audit_size or audit_share"
            )
        if self.seed == _SEED or is_blank(self.seed):
            # What an earlier audit with this seed did not draw is never drawn: the audit would pass it over.
            raise ValueError(
                'target_precision needs a seed that no earlier plan of the dataset had, such as "{{ run_id }}"'
            )
        return self

    @model_validator(mode="after")
    def _drift_is_judged(self) -> ConfirmPolicy:
        for name, default in (("baseline_plan_uri", None), ("on_drift", "fail")):
            if self.max_drift is None and getattr(self, name) != default:
                raise ValueError(f"{name} says nothing without max_drift: give max_drift too, such as 0.1")
        return self

    @property
    def needs_plan(self) -> bool:
        """Whether it decides by the whole list, or only after people have answered."""
        return self.audit_size is not None or self.target_precision is not None

    @property
    def has_guards(self) -> bool:
        """Whether every proposal must be decided before the first write."""
        guards = (self.max_samples, self.max_share_per_label, self.min_samples, self.max_drift)
        return any(guard is not None for guard in guards)

    @property
    def named_labels(self) -> tuple[str, ...]:
        """The label names in the policy."""
        return tuple(dict.fromkeys((*(self.labels or ()), *self.min_score_by_label)))

    def check_labels(self, known: Collection[str], dataset_id: str) -> None:
        """Refuse a name that no label of a dataset has: a misspelled threshold would let everything pass.

        :param known: the names of the dataset's labels
        :param dataset_id: the dataset, for the error
        :raises InvalidPolicy: naming the first such name, and the nearest that there is
        """
        for name in self.named_labels:
            if name not in known:
                raise InvalidPolicy(
                    f"The policy names the label {shown(name)}, which dataset {dataset_id} does not have"
                    f"{nearest(name, known)}. Nothing was written. Correct the name, or add the label to the dataset."
                )

    def threshold(self, name: str) -> float | None:
        """Return the score that a label of this name needs, or None if no threshold applies to it."""
        return self.min_score_by_label.get(name, self.min_score)

    def decide(self, sample: Sample) -> Decision:
        """Return what to do with a proposal; the first applying rule of :data:`RULES` decides.

        :param sample: the proposal as it was read without a filter: the service may trim labels to a filter
        """
        return self.decide_by_facts(facts_of(sample))

    def decide_by_facts(self, facts: SampleFacts) -> Decision:
        """Return what to do with a proposal, see :meth:`decide`."""
        for name, action, applies in RULES:
            if applies(self, facts):
                return Decision(action, name)
        return PASSED

    def check_guards(self, confirmed: int, by_label: Mapping[str, int]) -> None:
        """Check the guards against the counts of what would be confirmed.

        :param confirmed: number of samples that would be confirmed
        :param by_label: for each label name the number of those samples that have it
        :raises GuardFailed: naming the first guard that does not hold
        """
        if self.max_samples is not None and confirmed > self.max_samples:
            raise GuardFailed(
                f"The guard max_samples={self.max_samples} does not hold: {confirmed} samples would be confirmed. "
                "Nothing was written. Raise the guard if so many are expected, or make the policy stricter."
            )
        if self.min_samples is not None and confirmed < self.min_samples:
            raise GuardFailed(
                f"The guard min_samples={self.min_samples} does not hold: only {confirmed} samples would be "
                "confirmed. Nothing was written. See whether the labeling task did its work and the thresholds fit."
            )
        for name, count in sorted(by_label.items(), key=lambda item: (-item[1], item[0])):
            if self.max_share_per_label is not None and count > self.max_share_per_label * confirmed:
                raise GuardFailed(
                    f"The guard max_share_per_label={self.max_share_per_label:g} does not hold: the label {name!r} is "
                    f"on {count} of the {confirmed} samples that would be confirmed. Nothing was written. See whether "
                    "the machine prefers one label, or raise the guard."
                )


class PolicyRule(NamedTuple):
    """A row of :data:`RULES`."""

    name: str
    action: Action
    applies: Callable[[ConfirmPolicy, SampleFacts], bool]


def _has_unlisted_label(policy: ConfirmPolicy, facts: SampleFacts) -> bool:
    return policy.labels is not None and not set(policy.labels).issuperset(facts.names)


def _has_unknown_score(policy: ConfirmPolicy, facts: SampleFacts) -> bool:
    if policy.target_precision is not None and facts.lowest_score is None:
        return True
    pairs = zip(facts.names, facts.scores, strict=False)  # without labels there is a score nevertheless
    return any(score is None and policy.threshold(name) is not None for name, score in pairs)


def _has_low_score(policy: ConfirmPolicy, facts: SampleFacts) -> bool:
    for name, score in zip(facts.names, facts.scores, strict=False):
        threshold = policy.threshold(name)
        if threshold is not None and score is not None and score < threshold:
            return True
    return False


def _is_hard(policy: ConfirmPolicy, facts: SampleFacts) -> bool:
    return facts.is_hard and policy.hard_examples == "review"


def _is_audited(policy: ConfirmPolicy, facts: SampleFacts) -> bool:
    return is_in_share(policy.audit_share, policy.seed, facts.sample_id)


# Order is meaning: the first row that applies decides. The audit is the last: it is drawn from just those that would be
# confirmed, so that it speaks for all of them.
RULES: tuple[PolicyRule, ...] = (
    PolicyRule("no_labels", "leave", lambda _, facts: not facts.has_labels),
    PolicyRule("label_not_allowed", "leave", _has_unlisted_label),
    PolicyRule("score_unknown", "review", _has_unknown_score),
    PolicyRule("score_too_low", "review", _has_low_score),
    PolicyRule("hard_example", "review", _is_hard),
    PolicyRule("audit_sample", "review", _is_audited),
)
PASSED = Decision("confirm", "passed")
AUDITED = Decision("review", "audit_sample")
SCORE_UNKNOWN = Decision("review", "score_unknown")
NO_POLICY = Decision("confirm", "no_policy")
NO_ID = Decision("leave", "no_sample_id")
ODD = "odd_sample"
"""The code of a sample that is not as the API documents it (``Sample.oddity``): it fails, and is never written."""
ODD_SAMPLE = Decision("leave", ODD)


def confirm_all(facts: SampleFacts) -> Decision:
    """Confirm every proposal that has labels, also hard examples."""
    return NO_POLICY if facts.has_labels else Decision("leave", "no_labels")


Decide = Callable[[Sequence["SampleRow"]], list[Decision]]
"""Says what to do with proposals, a page of them at a time."""


def decide_rows_by(policy: ConfirmPolicy | None, filters: Mapping[str, Any]) -> Decide:
    """Return the function that decides about rows of a list; parameters as of :func:`decide_by`."""
    decide = decide_by(policy, filters)
    if policy is None and filters.keys().isdisjoint(("low_score", "high_score")):
        # Nothing but the names of their labels counts then.
        return lambda rows: [NO_POLICY if row.plain_labels() else decide(facts_of_row(row)) for row in rows]
    return lambda rows: [decide(facts_of_row(row)) for row in rows]


def decide_by(policy: ConfirmPolicy | None, filters: Mapping[str, Any]) -> Callable[[SampleFacts], Decision]:
    """Return the function that decides about the proposals of a list.

    :param policy: None: every proposal that has labels is confirmed
    :param filters: those of the list. A bound for scores is a threshold too, but the service only compares numbers, so
        a sample whose score is not from 0 to 1 goes to people
    """
    decide_plain = confirm_all if policy is None else policy.decide_by_facts
    has_bounds = filters.get("low_score") is not None or filters.get("high_score") is not None

    def decide(facts: SampleFacts) -> Decision:
        if facts.oddity is not None:
            return ODD_SAMPLE if facts.sample_id else NO_ID
        found = decide_plain(facts)
        return SCORE_UNKNOWN if has_bounds and facts.has_odd_score and found.action == "confirm" else found

    return decide


def nearest(name: str, known: Collection[str]) -> str:
    """Return, in brackets, the known name nearest to an unknown one, or some of the known names."""
    found = get_close_matches(name, known, n=1, cutoff=0.5) or [
        other for other in known if other.strip().casefold() == name.strip().casefold()
    ]
    if found:
        return f" (did you mean {shown(found[0])}?)"
    some = first_of([shown(other) for other in sorted(known)], 5)
    return f" (it has {some})" if some else ""


def parse_policy(value: object) -> ConfirmPolicy | None:
    """Read a policy as a DAG author gives it, templates rendered.

    :param value: a dict, the same as JSON text, a ready :class:`ConfirmPolicy`, or None for "no policy": confirm
        every proposal that has labels
    :return: the policy, or None
    :raises InvalidPolicy: in one line, for anything else. A template that rendered to nothing or to "None" must never
        turn a policy into "confirm all"
    """
    if value is None or isinstance(value, ConfirmPolicy):
        return value
    rules = _as_mapping(value)
    empty = sorted(str(name) for name, rule in rules.items() if rule is None or rule == "")
    if empty:
        raise InvalidPolicy(
            f"The policy has no value for {', '.join(empty)}. See what its template renders to, or leave the key out."
        )
    try:
        return ConfirmPolicy.model_validate(dict(rules))
    except ValidationError as error:
        raise InvalidPolicy(f"The policy is wrong: {_one_line(error)}.") from None
    except InvalidRequest as error:
        raise InvalidPolicy(f"The policy is wrong: {error.message}") from None


def _as_mapping(value: object) -> Mapping[Any, Any]:
    if isinstance(value, str):
        text = value.strip()
        if text in ("", "None", "null"):
            raise InvalidPolicy(
                f"The policy rendered to {text!r}. See what its template renders to; leave the parameter out to "
                "confirm every proposal."
            )
        try:
            value = decoded(text)
        except InvalidRequest as error:
            raise InvalidPolicy(f"The policy is wrong: {error.message}") from None
    if not isinstance(value, Mapping):
        hint = " In a template a dict needs the filter tojson." if isinstance(value, str) and "{" in value else ""
        raise InvalidPolicy(f"The policy must be a dict or JSON text of one, not {shown(value)}.{hint}")
    return value


def _one_line(error: ValidationError) -> str:
    return "; ".join(_complaint(fault["loc"], fault["type"], fault["msg"], fault["input"]) for fault in error.errors())


def _complaint(loc: tuple[int | str, ...], kind: str, text: str, given: object) -> str:
    where = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return f"{where} is unknown; known are {', '.join(ConfirmPolicy.model_fields)}"
    if kind == "value_error" and not loc:
        return text.removeprefix("Value error, ")
    text = text.removeprefix("Value error, ").replace("Input should be", "should be")
    return f"{where}: {text}, not {shown(given)}"
