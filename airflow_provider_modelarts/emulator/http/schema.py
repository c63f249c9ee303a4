"""Shapes of what requests carry, and the check against them (contract 10, row "JSON").

A shape is a type, a tuple of types, a set of allowed values, a `Text` with its pattern, a list with the shape of its
items, a `Table`, or a value within limits (`Form`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.state.kinds import KINDS, SAMPLE_TYPES

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


@dataclass(frozen=True)
class OneOf:
    """A value that is written in two ways: as an object of one shape, or otherwise."""

    as_object: Table
    otherwise: Any


@dataclass(frozen=True)
class Text:
    """A text.

    :param pattern: what all of it must match.
    """

    pattern: str


NUMBER = (int, float)
# Names and descriptions (contract 6.1): forbidden characters, and how long they may be.
NAME_CHARACTERS = r"[A-Za-z0-9_\-\u4e00-\u9fa5]"
DESCRIPTION = Text(r"""(?s)[^\^!<>=&"']{0,256}""")
RATIO = Text(r"0(\.\d+)?|1(\.0+)?")
LABEL_NAME = Text(r"(?s).{1,1024}")  # contract 6.2: up to 1024
SHAPES = frozenset({"bndbox", "polygon", "circle", "line", "dashed", "point", "polyline", ""})
VERSION_FORMATS = frozenset({"Default", "CarbonData", "CSV"})
JOINED_BY = frozenset({"OR", "AND"})
OPEN = Table(rest=object)
# Types of labels (contract 6.1).
LABEL_TYPES = frozenset({0, 1, 3, 100, 101, 102, 103, 200, 201, 202, 600})
USAGES = frozenset({"TRAIN", "EVAL", "TEST", "INFERENCE"})
MOST_REASON = 30  # contract 7.5
LABEL = {
    "name": str,
    "type": LABEL_TYPES,
    "id": str,
    "score": NUMBER,
    "annotated_by": frozenset({"human", "auto"}),
    "property": OPEN,
}
METADATA = {
    "@modelarts:hard": Form((bool, int, float), lambda flag: flag in (0, 1), "0, 1, true or false"),
    "@modelarts:hard_coefficient": Form(NUMBER, lambda number: 0 <= number <= 1, "a number from 0 to 1"),
    "@modelarts:hard_reasons": [Form(int, lambda reason: 0 <= reason <= MOST_REASON, "a reason from 0 to 30")],
    "@modelarts:import_origin": int,
    "@modelarts:size": Form(
        [Form(int, lambda side: side >= 1, "at least 1")], lambda sides: len(sides) in (2, 3), "width, height and depth"
    ),
}
_AT_LEAST_0 = Form(NUMBER, lambda number: number >= 0, "at least 0")
_INDEX = Form(int, lambda index: index >= 0, "at least 0")
_MEDIA_TIME = Text(r"\d{2}:\d{2}:\d{2}\.\d{3}")
_REASON = r"([0-9]|[12][0-9]|30)"
# Contract 3.3, the property of a label; the other keys are attributes of the users' own.
SAMPLE_LABEL_PROPERTIES = Table(
    {
        **dict.fromkeys(("@modelarts:content", "@modelarts:source", "@modelarts:from", "@modelarts:to"), str),
        **dict.fromkeys(("@modelarts:start_index", "@modelarts:end_index"), _INDEX),
        **dict.fromkeys(("@modelarts:start_time", "@modelarts:end_time"), _MEDIA_TIME),
        "@modelarts:feature": Form(
            [Form([_AT_LEAST_0], lambda point: len(point) in (1, 2), "one or two numbers")], bool, "at least one point"
        ),
        "@modelarts:shape": SHAPES - {""},
        "@modelarts:hard": frozenset({"0", "1", "true", "false"}),
        "@modelarts:hard_coefficient": RATIO,
        "@modelarts:hard_reasons": Text(rf"({_REASON}(-{_REASON})*)?"),
    },
    rest=object,
)
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
        "sample_usage": USAGES,
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
LABEL_PROPERTIES = Table(
    {
        "@modelarts:color": Text(r"(#[0-9A-Fa-f]{6})?"),
        "@modelarts:default_shape": SHAPES,
        "@modelarts:from_type": str,
        "@modelarts:to_type": str,
        "@modelarts:rename_to": LABEL_NAME,
        "@modelarts:shortcut": str,
    }
)
ATTRIBUTE = {
    "id": str,
    "name": Text(r"(?s).{0,64}"),
    "type": frozenset({"text", "select"}),
    "default_value": str,
    "values": [Table({"id": str, "value": str})],
}
NEW_LABEL = {
    "name": LABEL_NAME,
    "type": LABEL_TYPES,
    "property": LABEL_PROPERTIES,
    "attributes": [Table(ATTRIBUTE)],
}
NAMED_LABEL = Table(NEW_LABEL, required=("name",))
LABELS = Table({"labels": [NAMED_LABEL]}, required=("labels",))
# contract 6.1
SOURCE_TEXTS = (
    *("cluster_id", "cluster_mode", "cluster_name", "database_name", "input", "ip", "port", "queue_name"),
    *("subnet_id", "table_name", "user_name", "user_password", "vpc_id"),
)
DATA_SOURCE = Table(
    {
        "data_path": str,
        "data_type": frozenset(range(7)),
        "schema_maps": [Table({"src_name": str, "dest_name": str})],
        "source_info": Table(dict.fromkeys(SOURCE_TEXTS, str)),
        "with_column_header": bool,
    }
)
LABEL_FORMAT = Table(
    {
        "label_type": frozenset({"0", "1"}),
        "text_label_separator": Text(r"(?s).{0,2}"),
        "text_sample_separator": Text(r"(?s).{0,2}"),
    }
)
DATASET_TYPES = frozenset(KINDS)
DATASET_NAME = Text(NAME_CHARACTERS + "{1,100}")
CREATE_DATASET = Table(
    {
        "dataset_name": DATASET_NAME,
        "dataset_type": DATASET_TYPES,
        "data_sources": [DATA_SOURCE],
        "work_path": str,
        "work_path_type": frozenset({0}),
        "description": DESCRIPTION,
        "labels": [NAMED_LABEL],
        "data_format": frozenset({"Default", "CarbonData"}),
        "import_annotations": bool,
        "import_data": bool,
        "label_format": LABEL_FORMAT,
        "managed": bool,
        "schema": [Table({"schema_id": int, "name": str, "type": str, "description": str})],
        "workforce_information": Table(
            {
                "task_name": Text(NAME_CHARACTERS + "{1,64}"),
                "task_id": str,
                "repetition": int,
                "data_sync_type": frozenset(range(4)),
                "synchronize_data": bool,
                "synchronize_auto_labeling_data": bool,
                "workforces_config": OPEN,
            },
            required=("task_name",),
        ),
        "workspace_id": str,
    },
    required=("dataset_name", "work_path", "work_path_type"),
)
UPDATE_DATASET = Table(
    {
        "dataset_name": DATASET_NAME,
        "description": Text(r"""(?s)[^\^!<>=&"]{0,256}"""),  # the documents of this call allow the apostrophe
        "current_version_id": str,
        "add_labels": [NAMED_LABEL],
        "update_labels": [NAMED_LABEL],
        "delete_labels": [NAMED_LABEL],
        # Only in an example of 2021 (quirk 43), without effect here.
        "dataset_id": str,
        "add_tags": [NAMED_LABEL],
    }
)
# contract 6.3
CREATE_VERSION = Table(
    {
        "version_name": Text(NAME_CHARACTERS + "{1,32}"),
        "version_format": VERSION_FORMATS,
        "description": Text(r"""(?s)[^!<>=&"']{0,256}"""),  # the documents of this call allow the caret
        **dict.fromkeys(("clear_hard_property", "export_images", "remove_sample_usage", "with_column_header"), bool),
        "train_evaluate_sample_ratio": RATIO,
    }
)
# contract 6.4
UPLOAD_SAMPLES = Table(
    {
        "final_annotation": bool,
        "label_format": LABEL_FORMAT,
        "samples": [
            Table(
                {
                    "name": Text(r"""(?s)[^!<>=&"']{1,1024}"""),
                    "data": str,
                    "data_source": DATA_SOURCE,
                    "encoding": frozenset({"UTF-8", "GBK", "GB2312"}),
                    "labels": [Table(LABEL)],
                    "metadata": Table(METADATA, rest=object),
                    "sample_type": SAMPLE_TYPES,
                },
                required=("name",),
            )
        ],
    },
    required=("samples",),
)
DELETE_SAMPLES = Table({"samples": [Text(r"(?s).+")], "delete_source": bool}, required=("samples",))
# contract 6.6
IMPORT = Table(
    {
        "import_path": str,
        "import_type": frozenset({"dir", "manifest"}),
        "import_origin": frozenset({"obs", "dws", "dli", "rds", "mrs", "inference"}),
        "data_source": DATA_SOURCE,
        "annotation_format": frozenset({"VOC", "COCO"}),
        **dict.fromkeys(("import_annotations", "import_samples", "final_annotation", "difficult_only"), bool),
        "import_folder": str,
        # Objects in the table, names in the example (quirk 42).
        "included_labels": [OneOf(NAMED_LABEL, str)],
        "excluded_labels": [OneOf(NAMED_LABEL, str)],
        "included_tags": [str],
        "label_format": LABEL_FORMAT,
        "with_column_header": bool,
    },
    required=("import_path",),
)
SAMPLE_STATES = frozenset(
    {
        *("__ALL__", "__NONE__", "__UNCHECK__", "__ACCEPTED__", "__REJECTED__", "__UNREVIEWED__", "__REVIEWED__"),
        *("__WORKFORCE_SAMPLED__", "__WORKFORCE_SAMPLED_UNCHECK__", "__WORKFORCE_SAMPLED_CHECKED__"),
        *("__WORKFORCE_SAMPLED_ACCEPTED__", "__WORKFORCE_SAMPLED_REJECTED__", "__AUTO_ANNOTATION__"),
    }
)
EXPORT_PARAMS = {
    "clear_hard_property": bool,
    "export_dataset_version_format": str,
    "export_dataset_version_name": str,
    "export_dest": frozenset({"DIR", "NEW_DATASET"}),
    "export_new_dataset_name": str,
    "export_new_dataset_work_path": str,
    "ratio_sample_usage": bool,
    "sample_state": SAMPLE_STATES | {""},
    "samples": [str],
    "search_conditions": [SEARCH_CONDITION],
    "train_sample_ratio": RATIO,
}
EXPORT = Table(
    {
        "path": str,
        "export_type": frozenset(range(4)),
        "export_format": frozenset({1, 2}),
        "annotation_format": frozenset({"VOC", "COCO"}),
        "export_params": Table(EXPORT_PARAMS),
        "sample_state": SAMPLE_STATES,
        "source_type_header": frozenset({"obs://", "s3://"}),
        "status": int,
        "task_id": str,
        "version_format": VERSION_FORMATS,
        "version_id": str,
        "with_column_header": bool,
        "dataset_id": str,
        "dataset_type": DATASET_TYPES,
    }
)


def check(value: Any, shape: Any, *, strict: bool, where: str = "body") -> None:
    """Compare a value with a shape.

    :param strict: refuse fields that a table does not know; otherwise they are ignored.
    :param where: place of the value, for the text of a refusal.
    :raises Refusal: 400 ModelArts.0104, naming the place.
    """
    if isinstance(shape, OrNull):
        if value is not None:
            check(value, shape.shape, strict=strict, where=where)
    elif isinstance(shape, Form):
        _check_form(value, shape, strict=strict, where=where)
    elif isinstance(shape, Table):
        _check_table(value, shape, strict=strict, where=where)
    elif isinstance(shape, list):
        _check_list(value, shape[0], strict=strict, where=where)
    elif isinstance(shape, OneOf):
        is_object = isinstance(value, dict)
        check(value, shape.as_object if is_object else shape.otherwise, strict=strict, where=where)
    else:
        _check_value(value, shape, where)


def _check_value(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, Text):
        if not isinstance(value, str) or not re.fullmatch(shape.pattern, value):
            raise refuse("ModelArts.0104", f"{where} is not allowed: its characters or its length")
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
