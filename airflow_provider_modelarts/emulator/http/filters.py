"""Which samples a list request asks for (contract 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Refusal, strict_json
from airflow_provider_modelarts.emulator.http.query import integer
from airflow_provider_modelarts.emulator.http.schema import DATASET_TYPES, SEARCH_CONDITION, check

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call

Document = dict[str, Any]
Condition = Callable[[Document], bool]
Search = Callable[[Any, float], Condition]
"""Makes a condition of the value of a search field; the number is the time, epoch seconds."""

MAX_SPAN = timedelta(days=30)
# Contract 6.4.
STATES = frozenset(
    {
        *("", "__all__", "__none__", "__auto_annotation__", "__uncheck__", "__accepted__", "__rejected__"),
        *("__unreviewed__", "__reviewed__", "__workforce_sampled__", "__workforce_sampled_uncheck__"),
        *("__workforce_sampled_checked__", "__workforce_sampled_accepted__", "__workforce_sampled_rejected__"),
    }
)


@dataclass(frozen=True)
class Filter:
    """A filter over samples as they are served.

    :param key: equal for equal requests.
    :param matches: decides about one sample; None: everything passes.
    :param keeps_label: decides about one label of a sample; used by the variant that trims.
    """

    key: tuple[Any, ...]
    matches: Condition | None
    keeps_label: Condition


def read_state(call: Call) -> str:
    """Return `sample_state` in lower case; empty means no filter (quirk 35).

    :raises Refusal: 400 ModelArts.0104 for an unknown state.
    """
    state = call.query.get("sample_state", "").lower()
    if state not in STATES:
        raise refuse("ModelArts.0104", f"sample_state={call.query['sample_state']}")
    return state


def read_filter(call: Call, now: float) -> Filter:
    """Return the filter of a list request.

    :raises Refusal: 400 ModelArts.0104 for values out of range or malformed search conditions.
    """
    name = call.query.get("label_name") or None
    label_type = integer(call, "label_type")
    if label_type is not None and label_type not in DATASET_TYPES:
        raise refuse("ModelArts.0104", f"label_type={label_type}")
    low, high = _score(call, "low_score", 0.0), _score(call, "high_score", 1.0)
    searched = call.query.get("search_conditions") or None
    search = read_search(searched, now) if searched is not None else None
    is_plain = name is None and label_type is None and low <= 0.0 and high >= 1.0

    def keeps_label(label: Document) -> bool:
        return (
            (name is None or label.get("name") == name)
            and (label_type is None or label.get("type") == label_type)
            and _is_between(label.get("score"), low, high)
        )

    def matches(document: Document) -> bool:
        # Of a multi-label sample one label that fits is enough.
        fits = is_plain or any(keeps_label(label) for label in document["labels"])
        return fits and (search is None or search(document))

    # "Within a month" means something else at another time.
    moment = now if searched is not None and "sample_time" in searched else None
    key = (name, label_type, low, high, searched, moment)
    return Filter(key, None if is_plain and search is None else matches, keeps_label)


def _score(call: Call, name: str, default: float) -> float:
    text = call.query.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0.0 <= value <= 1.0:
        raise refuse("ModelArts.0104", f"{name}={text}")
    return value


def _is_between(score: Any, low: float, high: float) -> bool:
    """Whether a score lies within inclusive bounds (contract 3.1); an unknown one only within the widest."""
    try:
        return low <= float(score) <= high
    except (TypeError, ValueError):  # none, or one that a test made up
        return low <= 0.0 and high >= 1.0


def read_search(text: str, now: float) -> Condition:
    """Return the search conditions, which are joined by AND; an array or a single object (quirk 38).

    Unknown fields are refused at every depth, not only by `strict_requests`: a condition that is left out because it is
    misspelled would let everything pass, and whoever confirms the outcome confirms everything.
    """
    try:
        value = strict_json(text.encode())
    except Refusal:
        raise refuse("ModelArts.0104", "search_conditions is not JSON") from None
    parts: list[Condition] = []
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        check(item, SEARCH_CONDITION, strict=True, where=f"search_conditions[{number}]")
        parts += _searches(item, now)
    return _joined(parts, "AND")


def search_any(conditions: list[Document], now: float) -> Condition:
    """Return search conditions of an export, which are joined by OR (quirk 38); their shape has been checked."""
    return _joined([_joined(_searches(one, now), "AND") for one in conditions], "OR")


def _searches(condition: Document, now: float) -> list[Condition]:
    """Return what the fields of a condition ask for.

    :raises Refusal: 400 ModelArts.0104 for one about what no sample here has (video, DICOM, parents): to match nothing
        would look like an answer.
    """
    for name in condition:
        if name not in SEARCHES:
            raise refuse("ModelArts.0104", f"{name}: the emulator has no samples that can be searched by it")
    return [SEARCHES[name](wanted, now) for name, wanted in condition.items()]


def _joined(parts: list[Condition], operator: str) -> Condition:
    meet = any if operator == "OR" else all
    return lambda item: meet(part(item) for part in parts)


def _equals(read: Callable[[Document], object]) -> Search:
    """Compare what is read of a sample, as text."""
    return lambda value, _: lambda document: str(read(document)) == value


def _in_range(name: str, read: Callable[[Document], list[Any]]) -> Search:
    """Match samples of which one number lies in a range: a text of a minimum, or of two bounds joined by a hyphen."""

    def search(value: str, _: float) -> Condition:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", value, re.ASCII)
        if found is None:
            raise refuse("ModelArts.0104", f"{name}={value}")
        low, high = float(found[1]), float(found[2] or 1.0)
        if not low <= high <= 1:
            raise refuse("ModelArts.0104", f"{name}={value}")
        return lambda document: any(_is_between(number, low, high) for number in read(document))

    return search


def _sample_dir(value: str, _: float) -> Condition:
    if not value.endswith("/"):
        raise refuse("ModelArts.0104", f"sample_dir={value}")
    return lambda document: (_origin(document)[0] + "/").endswith("/" + value.lstrip("/"))


def _origin(document: Document) -> tuple[str, str]:
    """Return folder and name of a sample's file."""
    folder, _, name = str(document["metadata"].get("@modelarts:origin_source", "")).rpartition("/")
    return folder, name


def _sample_time(value: str, now: float) -> Condition:
    """Match the time of a sample: month, day, or two dates of eight digits (quirk 37)."""
    until = datetime.fromtimestamp(now, UTC)
    if value in ("month", "day"):
        since = until - timedelta(days=30 if value == "month" else 1)
    else:
        since, until = _dates(value)
    low, high = since.timestamp() * 1000, until.timestamp() * 1000
    return lambda document: low <= document["sample_time"] <= high


def _dates(text: str) -> tuple[datetime, datetime]:
    """Return the bounds that two dates mean; the last day counts."""
    if re.fullmatch(r"\d{8}-\d{8}", text):
        with suppress(ValueError):
            first, last = (datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in text.split("-"))
            if timedelta(0) <= last - first <= MAX_SPAN:
                return first, last + timedelta(days=1)
    raise refuse("ModelArts.0104", f"sample_time={text}")


def _label_list(value: Document, _: float) -> Condition:
    """Match labels; `op` is needed with several of them (contract 3.1)."""
    labels = value["labels"]
    operator = value.get("op", "OR" if len(labels) == 1 else None)
    if operator is None:
        raise refuse("ModelArts.0104", f"label_list of {len(labels)} labels without op")
    return _joined([_has_label(wanted) for wanted in labels], operator)


def _has_label(wanted: Document) -> Condition:
    """Match samples of which one label has the name, type and attributes of a SearchLabel."""
    attributes = [_attribute("property", *item) for item in wanted.get("property", {}).items()]
    has_attributes = _joined(attributes, wanted.get("op", "AND") if attributes else "AND")
    plain = [(name, wanted[name]) for name in ("name", "type") if name in wanted]
    return lambda document: any(
        all(label.get(name) == value for name, value in plain) and has_attributes(label) for label in document["labels"]
    )


def _attribute(holder: str, name: str, values: Any) -> Condition:
    """Match an attribute; a null list means that it is present (contract 3.1, SearchLabel)."""

    def is_there(item: Document) -> bool:
        held = item.get(holder) or {}
        return name in held and (values is None or str(held[name]) in values)

    return is_there


def _metadata(value: Document, _: float) -> Condition:
    return _joined([_attribute("metadata", *item) for item in value["props"].items()], value.get("op", "AND"))


# How each field of a SearchCondition is matched; its fields are joined by AND. Others are refused.
SEARCHES: dict[str, Search] = {
    "coefficient": _in_range("coefficient", lambda sample: [sample["metadata"].get("@modelarts:hard_coefficient")]),
    "hard": _equals(lambda sample: int(bool(sample["metadata"].get("@modelarts:hard")))),
    "import_origin": _equals(lambda sample: sample["metadata"].get("@modelarts:import_origin")),
    "label_list": _label_list,
    "labeler": _equals(lambda sample: sample.get("annotated_by")),
    "metadata": _metadata,
    "sample_dir": _sample_dir,
    "sample_name": _equals(lambda sample: _origin(sample)[1]),
    "sample_time": _sample_time,
    "score": _in_range("score", lambda sample: [label.get("score") for label in sample["labels"]]),
}
