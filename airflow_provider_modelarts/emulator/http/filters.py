"""Which samples a list request asks for (contract 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Refusal, strict_json
from airflow_provider_modelarts.emulator.http.paging import LABEL_TYPE_FILTERS, integer
from airflow_provider_modelarts.emulator.http.schema import SEARCH_CONDITION, check

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call

Document = dict[str, Any]
Condition = Callable[[Document], bool]

MAX_SPAN = timedelta(days=30)
# Search fields about things that no sample here has (video, DICOM, parents): nothing matches them.
FOREIGN = frozenset({"frame_in_video", "time_in_video", "kvp", "slice_thickness", "study_date", "parent_sample_id"})
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
    keeps_label: Callable[[Document], bool]


def read_state(call: Call) -> str:
    """Return `sample_state` in lower case; empty means no filter (quirk 35).

    :raises Refusal: 400 ModelArts.0104 for an unknown state.
    """
    state = call.query.get("sample_state", "").lower()
    if state not in STATES:
        raise refuse("0104", f"sample_state={call.query['sample_state']}")
    return state


def read_filter(call: Call, now: float) -> Filter:
    """Return the filter of a list request.

    :raises Refusal: 400 ModelArts.0104 for values out of range or malformed search conditions.
    """
    name = call.query.get("label_name") or None
    label_type = integer(call, "label_type")
    if label_type is not None and label_type not in LABEL_TYPE_FILTERS:
        raise refuse("0104", f"label_type={label_type}")
    low, high = _score(call, "low_score", 0.0), _score(call, "high_score", 1.0)
    searched = call.query.get("search_conditions") or None
    conditions = [_condition(item, now) for item in _search_items(searched)]

    def keeps_label(label: Document) -> bool:
        return (
            (name is None or label.get("name") == name)
            and (label_type is None or label.get("type") == label_type)
            and _is_between(label.get("score"), low, high)
        )

    # Of a multi-label sample one label that fits is enough.
    def matches(document: Document) -> bool:
        if plain or any(keeps_label(label) for label in document["labels"]):
            return all(condition(document) for condition in conditions)
        return False

    plain = name is None and label_type is None and low <= 0.0 and high >= 1.0
    is_needed = bool(conditions) or not plain
    # "Within a month" means something else at another time.
    moment = now if searched is not None and "sample_time" in searched else None
    return Filter((name, label_type, low, high, searched, moment), matches if is_needed else None, keeps_label)


def _score(call: Call, name: str, default: float) -> float:
    text = call.query.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise refuse("0104", f"{name}={text}") from None
    if not 0.0 <= value <= 1.0:
        raise refuse("0104", f"{name}={text}")
    return value


def _is_between(score: Any, low: float, high: float) -> bool:
    """Whether a score lies within inclusive bounds (contract 3.1); an unknown one only within the widest."""
    try:
        return low <= float(score) <= high
    except (TypeError, ValueError):  # none, or one that a test made up
        return low <= 0.0 and high >= 1.0


def _search_items(text: str | None) -> list[Document]:
    """Return the conditions, which are joined by AND; an array or a single object (quirk 38).

    Unknown fields are refused at every depth, not only by `strict_requests`: a condition that is left out because it is
    misspelled would let everything pass, and whoever confirms the outcome confirms everything.
    """
    if text is None:
        return []
    try:
        value = strict_json(text.encode())
    except Refusal:
        raise refuse("0104", "search_conditions is not JSON") from None
    items = value if isinstance(value, list) else [value]
    for number, item in enumerate(items):
        check(item, SEARCH_CONDITION, strict=True, where=f"search_conditions[{number}]")
    return items


def _condition(item: Document, now: float) -> Condition:
    """Return one SearchCondition as a function; its fields are joined by AND."""
    parts: list[Condition] = []
    for name, value in item.items():
        parts.append(SEARCHES[name](value, now) if name not in FOREIGN else lambda _: False)
    return lambda document: all(part(document) for part in parts)


def _hard(value: Any, _: float) -> Condition:
    return lambda document: bool(document["metadata"].get("@modelarts:hard")) is (value == "1")


def _import_origin(value: Any, _: float) -> Condition:
    return lambda document: str(document["metadata"].get("@modelarts:import_origin")) == value


def _origin(document: Document) -> str:
    return str(document["metadata"].get("@modelarts:origin_source", ""))


def _sample_name(value: Any, _: float) -> Condition:
    return lambda document: _origin(document).rpartition("/")[2] == value


def _sample_dir(value: Any, _: float) -> Condition:
    if not value.endswith("/"):
        raise refuse("0104", f"sample_dir={value}")
    return lambda document: (_origin(document).rpartition("/")[0] + "/").endswith("/" + value.lstrip("/"))


def _labeler(value: Any, _: float) -> Condition:
    return lambda document: document.get("annotated_by") == value


def _search_score(value: Any, _: float) -> Condition:
    low, high = _range("score", value)
    return lambda document: any(_is_between(label.get("score"), low, high) for label in document["labels"])


def _coefficient(value: Any, _: float) -> Condition:
    """Match how hard a sample is; one that was not looked at has no coefficient."""
    low, high = _range("coefficient", value)
    return lambda document: _is_between(document["metadata"].get("@modelarts:hard_coefficient"), low, high)


def _range(name: str, text: str) -> tuple[float, float]:
    """Return the bounds that a text means: one number is a minimum, two joined by a hyphen are a range."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", text, re.ASCII)
    if found is None:
        raise refuse("0104", f"{name}={text}")
    return float(found[1]), float(found[2] or 1.0)


def _sample_time(value: Any, now: float) -> Condition:
    """Match the time of a sample: month, day or eight and eight digits (quirk 37)."""
    today = datetime.fromtimestamp(now, UTC)
    if value in ("month", "day"):
        since, until = today - timedelta(days=30 if value == "month" else 1), today
    else:
        since, until = _dates(value)
    low, high = since.timestamp() * 1000, until.timestamp() * 1000
    return lambda document: low <= document["sample_time"] <= high


def _dates(value: Any) -> tuple[datetime, datetime]:
    found = re.fullmatch(r"(\d{8})-(\d{8})", str(value))
    if found is None:
        raise refuse("0104", f"sample_time={value}")
    try:
        first, last = (datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC) for text in found.groups())
    except ValueError:
        raise refuse("0104", f"sample_time={value}") from None
    if last < first or last - first > MAX_SPAN:
        raise refuse("0104", f"sample_time={value}")
    return first, last + timedelta(days=1)


def _joined(parts: list[Condition], operator: str) -> Condition:
    if operator == "OR":
        return lambda item: any(part(item) for part in parts)
    return lambda item: all(part(item) for part in parts)


def _label_list(value: Any, _: float) -> Condition:
    """Match labels; `op` is needed with several of them (contract 3.1)."""
    labels = value["labels"]
    operator = value.get("op", "OR" if len(labels) == 1 else None)
    if operator is None:
        raise refuse("0104", f"label_list of {len(labels)} labels without op")
    return _joined([_on_any_label(_one_label(label)) for label in labels], operator)


def _on_any_label(part: Condition) -> Condition:
    return lambda document: any(part(label) for label in document["labels"])


def _one_label(wanted: Document) -> Condition:
    parts: list[Condition] = []
    if "name" in wanted:
        parts.append(lambda label: label.get("name") == wanted["name"])
    if "type" in wanted:
        parts.append(lambda label: label.get("type") == wanted["type"])
    attributes = wanted.get("property")
    if attributes:
        operator = wanted.get("op", "AND")
        parts.append(_joined([_attribute("property", name, values) for name, values in attributes.items()], operator))
    return _joined(parts, "AND")


def _attribute(holder: str, name: str, values: Any) -> Condition:
    """Match an attribute; a null list means that it is present (contract 3.1, SearchLabel)."""

    def is_there(item: Document) -> bool:
        held = item.get(holder) or {}
        return name in held and (values is None or str(held[name]) in values)

    return is_there


def _metadata(value: Any, _: float) -> Condition:
    parts = [_attribute("metadata", name, values) for name, values in value["props"].items()]
    return _joined(parts, value.get("op", "AND"))


SEARCHES: dict[str, Callable[[Any, float], Condition]] = {
    "coefficient": _coefficient,
    "hard": _hard,
    "import_origin": _import_origin,
    "label_list": _label_list,
    "labeler": _labeler,
    "metadata": _metadata,
    "sample_dir": _sample_dir,
    "sample_name": _sample_name,
    "sample_time": _sample_time,
    "score": _search_score,
}
