"""Which samples a list request asks for (contract 3.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.errors import refuse
from airflow_provider_modelarts.emulator.paging import LABEL_TYPE_FILTERS, integer

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.web import Call

Document = dict[str, Any]
Condition = Callable[[Document], bool]

MAX_SPAN = timedelta(days=30)
OPERATORS = ("OR", "AND")
# Search fields about things that no sample here has (video, DICOM, parents): nothing matches them.
FOREIGN = frozenset(
    {"frame_in_video", "time_in_video", "kvp", "slice_thickness", "study_date", "parent_sample_id", "coefficient"}
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
    return Filter((name, label_type, low, high, searched), matches if is_needed else None, keeps_label)


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
    if score is None:
        return low <= 0.0 and high >= 1.0
    return low <= float(score) <= high


def _search_items(text: str | None) -> list[Document]:
    """Return the conditions, which are joined by AND; an array or a single object (quirk 38)."""
    if text is None:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        raise refuse("0104", "search_conditions is not JSON") from None
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise refuse("0104", "search_conditions holds something else than objects")
    return items


def _condition(item: Document, now: float) -> Condition:
    """Return one SearchCondition as a function; its fields are joined by AND."""
    parts: list[Condition] = []
    for name, value in item.items():
        if name in FOREIGN:
            parts.append(lambda _: False)
        elif name in SEARCHES:
            parts.append(SEARCHES[name](value, now))
        else:
            raise refuse("0104", f"search_conditions.{name}")
    return lambda document: all(part(document) for part in parts)


def _hard(value: Any, _: float) -> Condition:
    if value not in ("0", "1"):
        raise refuse("0104", f"hard={value}")
    return lambda document: bool(document["metadata"].get("@modelarts:hard")) is (value == "1")


def _import_origin(value: Any, _: float) -> Condition:
    return lambda document: str(document["metadata"].get("@modelarts:import_origin")) == str(value)


def _origin(document: Document) -> str:
    return str(document["metadata"].get("@modelarts:origin_source", ""))


def _sample_name(value: Any, _: float) -> Condition:
    return lambda document: _origin(document).rpartition("/")[2] == value


def _sample_dir(value: Any, _: float) -> Condition:
    if not isinstance(value, str) or not value.endswith("/"):
        raise refuse("0104", f"sample_dir={value}")
    return lambda document: (_origin(document).rpartition("/")[0] + "/").endswith("/" + value.lstrip("/"))


def _labeler(value: Any, _: float) -> Condition:
    return lambda document: document.get("annotated_by") == value


def _search_score(value: Any, _: float) -> Condition:
    """Match a score; text of one number means at least, of two joined by a hyphen a range."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", str(value))
    if found is None:
        raise refuse("0104", f"score={value}")
    low, high = float(found[1]), float(found[2] or 1.0)
    return lambda document: any(_is_between(label.get("score"), low, high) for label in document["labels"])


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


def _operator(value: Any) -> str:
    if value not in OPERATORS:
        raise refuse("0104", f"op={value}")
    return str(value)


def _joined(parts: list[Condition], operator: str) -> Condition:
    if operator == "OR":
        return lambda item: any(part(item) for part in parts)
    return lambda item: all(part(item) for part in parts)


def _label_list(value: Any, _: float) -> Condition:
    """Match labels; `op` is needed with several of them (contract 3.1)."""
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(labels, list) or not labels or not all(isinstance(label, dict) for label in labels):
        raise refuse("0104", "label_list")
    operator = _operator(value.get("op", "OR" if len(labels) == 1 else None))
    return _joined([_on_any_label(_one_label(label)) for label in labels], operator)


def _on_any_label(part: Condition) -> Condition:
    return lambda document: any(part(label) for label in document["labels"])


def _one_label(wanted: Document) -> Condition:
    parts: list[Condition] = []
    if "name" in wanted:
        parts.append(lambda label: label.get("name") == wanted["name"])
    if "type" in wanted:
        parts.append(lambda label: label.get("type") == wanted["type"])
    attributes = wanted.get("property") or {}
    if not isinstance(attributes, dict):
        raise refuse("0104", "label_list.labels.property")
    if attributes:
        operator = _operator(wanted.get("op", "AND"))
        parts.append(_joined([_attribute("property", name, values) for name, values in attributes.items()], operator))
    return _joined(parts, "AND")


def _attribute(holder: str, name: str, values: Any) -> Condition:
    """Match an attribute; a null list means that it is present (contract 3.1, SearchLabel)."""
    if values is not None and not isinstance(values, list):
        raise refuse("0104", f"{holder}.{name}")

    def is_there(item: Document) -> bool:
        held = item.get(holder) or {}
        return name in held and (values is None or str(held[name]) in values)

    return is_there


def _metadata(value: Any, _: float) -> Condition:
    properties = value.get("props") if isinstance(value, dict) else None
    if not isinstance(properties, dict):
        raise refuse("0104", "metadata")
    operator = _operator(value.get("op", "AND"))
    return _joined([_attribute("metadata", name, values) for name, values in properties.items()], operator)


SEARCHES: dict[str, Callable[[Any, float], Condition]] = {
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
