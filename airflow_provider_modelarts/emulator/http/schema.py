"""Shapes of what requests carry, and the check against them (contract 10, row "JSON").

A shape is a type, a tuple of types, a set of allowed values, a list with the shape of its items, a `Table`, or a value
within limits (`Form`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Table:
    """An object.

    :param fields: shape of each field; fields may be missing.
    :param required: fields that must be there.
    :param rest: shape of further fields (maps of properties and metadata); None: there are none.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    rest: Any = None


@dataclass(frozen=True)
class OrNull:
    """A value that may be null as well."""

    shape: Any


@dataclass(frozen=True)
class Form:
    """A value within limits.

    :param shape: shape of the value.
    :param holds: whether a value of that shape is within the limits.
    :param rule: what it must be, for the text of a refusal.
    """

    shape: Any
    holds: Callable[[Any], bool]
    rule: str


NUMBER = (int, float)
JOINED_BY = frozenset({"OR", "AND"})
OPEN = Table(rest=object)
# Types of labels (contract 6.1).
LABEL_TYPES = frozenset({0, 1, 3, 100, 101, 102, 103, 200, 201, 202, 600})
# The labels of these types carry what was said, and need no name.
NAMELESS = frozenset({201, 202})
# Contract 3.3, `sample_type`; there are images only.
SAMPLE_TYPES = frozenset({0, 1, 2, 4, 6, 9})
IMAGE = 0

LABEL = {
    "name": str,
    "type": LABEL_TYPES,
    "id": str,
    "score": NUMBER,
    "annotated_by": frozenset({"human", "auto"}),
    "property": OPEN,
}
METADATA = {
    "@modelarts:hard": (bool, int, float),
    "@modelarts:hard_coefficient": NUMBER,
    "@modelarts:hard_reasons": [int],
    "@modelarts:import_origin": int,
    "@modelarts:size": [int],
}
# contract 3.1
SEARCH_LABEL = {"name": str, "type": LABEL_TYPES, "op": JOINED_BY, "property": Table(rest=OrNull([str]))}
SEARCH_TEXTS = (
    *("coefficient", "import_origin", "kvp", "labeler", "parent_sample_id", "sample_dir", "sample_name"),
    *("sample_time", "score", "slice_thickness", "study_date", "time_in_video"),
)
SEARCH_CONDITION = Table(
    {
        **dict.fromkeys(SEARCH_TEXTS, str),
        "frame_in_video": int,
        "hard": frozenset({"0", "1"}),
        "label_list": Table({"labels": [Table(SEARCH_LABEL)], "op": JOINED_BY}, required=("labels",)),
        "metadata": Table({"op": JOINED_BY, "props": Table(rest=[str])}, required=("props",)),
    }
)


def _update_samples(**changed: Any) -> Table:
    sample = {
        "sample_id": str,
        "labels": [Table(LABEL | changed)],
        "metadata": Table(METADATA, rest=object),
        "sample_type": SAMPLE_TYPES,
        "sample_usage": frozenset({"TRAIN", "EVAL", "TEST", "INFERENCE"}),
        "source": str,
        "worker_id": str,
    }
    return Table({"email": str, "samples": [Table(sample, required=("sample_id",))]}, required=("samples",))


# contract 4.1, by the form in which scores are served: a label may go back as it came.
UPDATE_SAMPLES = {"number": _update_samples(), "text": _update_samples(score=(*NUMBER, str))}

CONFIG_TEXTS = (
    *("annotation_output", "confidence_scope", "description", "engine_name", "inf_cluster_id", "inf_output"),
    *("infer_result_output_dir", "key_sample_output", "log_url", "manifest_path", "model_name", "model_parameter"),
    *("model_version", "name", "output_dir", "pool_id", "property", "req_uri", "time", "train_data_path", "train_url"),
    "version_format",
)
INFERENCE = {"specification": str, "instance_count": int, "model_id": str, "weight": int, "envs": Table(rest=str)}
CONFIG = {
    **dict.fromkeys(CONFIG_TEXTS, str),
    **dict.fromkeys(("ambiguity", "image_brightness", "image_colorfulness", "collect_sample"), bool),
    **dict.fromkeys(("stop_time", "worker_server_num"), int),
    "algorithm_type": frozenset({"fast", "accurate"}),
    "n_clusters": (int, str),
    "result_type": frozenset({0, 1}),
    "collect_rule": frozenset({"all"}),
    "export_format": frozenset({1, 2}),
    "export_params": OPEN,
    "flavor": Table({"code": str}),
    "inf_config_list": [Table(INFERENCE)],
    "model_id": (str, int),
    "parameters": [Table({"label": str, "value": str}, rest=object)],
    "samples": [OPEN],
}
# contract 2.1
START_TASK = Table(
    {
        "task_type": frozenset({"auto-label", "pre-label", "auto-grouping"}),
        "collect_key_sample": bool,
        "model_id": str,
        "config": Table(CONFIG),
        # Only in an example of 2021, without effect here.
        "type": int,
        "export_type": frozenset({0, 1}),
    },
    required=("task_type",),
)
# contract 6.2
LABEL_PROPERTIES = (
    *("@modelarts:color", "@modelarts:default_shape", "@modelarts:from_type", "@modelarts:to_type"),
    *("@modelarts:rename_to", "@modelarts:shortcut"),
)
ATTRIBUTE = {
    "id": str,
    "name": str,
    "type": frozenset({"text", "select"}),
    "default_value": str,
    "values": [Table({"id": str, "value": str})],
}
NEW_LABEL = {
    "name": str,
    "type": LABEL_TYPES,
    "property": Table(dict.fromkeys(LABEL_PROPERTIES, str)),
    "attributes": [Table(ATTRIBUTE)],
}
LABELS = Table({"labels": [Table(NEW_LABEL, required=("name",))]}, required=("labels",))


def check(value: Any, shape: Any, *, strict: bool, where: str = "body") -> None:
    """Compare a value with a shape.

    :param strict: refuse fields that a table does not know; otherwise they are ignored.
    :param where: place of the value, for the text of a refusal.
    :raises Refusal: 400 ModelArts.0104, naming the place.
    """
    if isinstance(shape, OrNull):
        if value is None:
            return
        shape = shape.shape
    if isinstance(shape, Form):
        _check_form(value, shape, strict=strict, where=where)
    elif isinstance(shape, Table):
        _check_table(value, shape, strict=strict, where=where)
    elif isinstance(shape, list):
        _check_list(value, shape[0], strict=strict, where=where)
    elif isinstance(shape, frozenset):
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value not in shape:
            raise refuse("ModelArts.0104", f"{where} has a value that is not allowed")
    elif not _is_of(value, shape):
        raise refuse("ModelArts.0104", f"{where} has the wrong type")


def _is_of(value: Any, kinds: Any) -> bool:
    if isinstance(value, bool):  # in Python a bool is an int, in JSON it is not a number
        return kinds in (bool, object) or (isinstance(kinds, tuple) and bool in kinds)
    return isinstance(value, kinds)


def _check_form(value: Any, shape: Form, *, strict: bool, where: str) -> None:
    check(value, shape.shape, strict=strict, where=where)
    if not shape.holds(value):
        raise refuse("ModelArts.0104", f"{where} must be {shape.rule}")


def _check_list(value: Any, shape: Any, *, strict: bool, where: str) -> None:
    if not isinstance(value, list):
        raise refuse("ModelArts.0104", f"{where} is not a list")
    for index, item in enumerate(value):
        check(item, shape, strict=strict, where=f"{where}[{index}]")


def _check_table(value: Any, shape: Table, *, strict: bool, where: str) -> None:
    if not isinstance(value, dict):
        raise refuse("ModelArts.0104", f"{where} is not an object")
    for name in shape.required:
        if name not in value:
            raise refuse("ModelArts.0104", f"{where}.{name} is missing")
    for name, item in value.items():
        known = shape.fields.get(name, shape.rest)
        if known is not None:
            check(item, known, strict=strict, where=f"{where}.{name}")
        elif strict:
            raise refuse("ModelArts.0104", f"{where}.{name} is not known")
