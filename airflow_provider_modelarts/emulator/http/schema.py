"""Shapes of what requests carry, and the check against them (contract 10, row "JSON")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.paging import LABEL_TYPES, SAMPLE_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class One:
    """One of several values."""

    values: frozenset[Any]


@dataclass(frozen=True)
class Each:
    """A list whose items have one shape."""

    item: Any


@dataclass(frozen=True)
class Table:
    """An object.

    :param fields: shape of each field; fields may be missing.
    :param is_open: whether further fields are normal (maps of properties and metadata).
    :param required: fields that must be there.
    :param rest: shape of further fields of an open object.
    """

    fields: Mapping[str, Any]
    is_open: bool = False
    required: tuple[str, ...] = ()
    rest: Any = None


@dataclass(frozen=True)
class OrNull:
    """A value that may be null as well."""

    shape: Any


ANY = object()
NUMBER = (int, float)
JOINED_BY = One(frozenset({"OR", "AND"}))

# contract 6.1: the labels of these types carry what was said, and need no name
NAMELESS = frozenset({201, 202})
LABEL = Table(
    {
        "name": str,
        "type": One(LABEL_TYPES),
        "id": str,
        "score": NUMBER,
        "annotated_by": One(frozenset({"human", "auto"})),
        "property": Table({}, is_open=True),
    },
)
METADATA = Table(
    {
        "@modelarts:hard": (bool, int, float),
        "@modelarts:hard_coefficient": NUMBER,
        "@modelarts:hard_reasons": Each(int),
        "@modelarts:import_origin": int,
        "@modelarts:size": Each(int),
    },
    is_open=True,
)
# contract 3.1
SEARCH_LABEL = Table(
    {
        "name": str,
        "type": One(LABEL_TYPES),
        "op": JOINED_BY,
        "property": Table({}, is_open=True, rest=OrNull(Each(str))),
    }
)
SEARCH_CONDITION = Table(
    {
        "coefficient": str,
        "frame_in_video": int,
        "hard": One(frozenset({"0", "1"})),
        "import_origin": str,
        "kvp": str,
        "label_list": Table({"labels": Each(SEARCH_LABEL), "op": JOINED_BY}, required=("labels",)),
        "labeler": str,
        "metadata": Table({"op": JOINED_BY, "props": Table({}, is_open=True, rest=Each(str))}, required=("props",)),
        "parent_sample_id": str,
        "sample_dir": str,
        "sample_name": str,
        "sample_time": str,
        "score": str,
        "slice_thickness": str,
        "study_date": str,
        "time_in_video": str,
    }
)


def _update_samples(label: Table) -> Table:
    return Table(
        {
            "email": str,
            "samples": Each(
                Table(
                    {
                        "sample_id": str,
                        "labels": Each(label),
                        "metadata": METADATA,
                        "sample_type": One(SAMPLE_TYPES),
                        "sample_usage": One(frozenset({"TRAIN", "EVAL", "TEST", "INFERENCE"})),
                        "source": str,
                        "worker_id": str,
                    },
                    required=("sample_id",),
                )
            ),
        },
        required=("samples",),
    )


# contract 4.1, by the form in which scores are served: a label may go back as it came.
UPDATE_SAMPLES = {
    "number": _update_samples(LABEL),
    "text": _update_samples(Table({**LABEL.fields, "score": (*NUMBER, str)})),
}
CONFIG_TEXTS = (
    *("annotation_output", "confidence_scope", "description", "engine_name", "inf_cluster_id", "inf_output"),
    *("infer_result_output_dir", "key_sample_output", "log_url", "manifest_path", "model_name", "model_parameter"),
    *("model_version", "name", "output_dir", "pool_id", "property", "req_uri", "time", "train_data_path", "train_url"),
    "version_format",
)
# contract 2.1
START_TASK = Table(
    {
        "task_type": One(frozenset({"auto-label", "pre-label", "auto-grouping"})),
        "collect_key_sample": bool,
        "model_id": str,
        "config": Table(
            {
                "algorithm_type": One(frozenset({"fast", "accurate"})),
                "n_clusters": (int, str),
                "result_type": One(frozenset({0, 1})),
                "collect_rule": One(frozenset({"all"})),
                "export_format": One(frozenset({1, 2})),
                "export_params": Table({}, is_open=True),
                "flavor": Table({"code": str}),
                "inf_config_list": Each(
                    Table(
                        {
                            "specification": str,
                            "instance_count": int,
                            "model_id": str,
                            "weight": int,
                            "envs": Table({}, is_open=True, rest=str),
                        }
                    )
                ),
                "model_id": (str, int),
                "parameters": Each(Table({"label": str, "value": str}, is_open=True)),
                "samples": Each(Table({}, is_open=True)),
                **dict.fromkeys(("ambiguity", "image_brightness", "image_colorfulness", "collect_sample"), bool),
                **dict.fromkeys(("stop_time", "worker_server_num"), int),
                **dict.fromkeys(CONFIG_TEXTS, str),
            }
        ),
        # Only in an example of 2021, without effect here.
        "type": int,
        "export_type": One(frozenset({0, 1})),
    },
    required=("task_type",),
)
LABEL_PROPERTIES = (
    *("@modelarts:color", "@modelarts:default_shape", "@modelarts:from_type", "@modelarts:to_type"),
    *("@modelarts:rename_to", "@modelarts:shortcut"),
)
# contract 6.2
LABELS = Table(
    {
        "labels": Each(
            Table(
                {
                    "name": str,
                    "type": One(LABEL_TYPES),
                    "property": Table(dict.fromkeys(LABEL_PROPERTIES, str)),
                    "attributes": Each(
                        Table(
                            {
                                "id": str,
                                "name": str,
                                "type": One(frozenset({"text", "select"})),
                                "default_value": str,
                                "values": Each(Table({"id": str, "value": str})),
                            }
                        )
                    ),
                },
                required=("name",),
            )
        )
    },
    required=("labels",),
)


def check(value: Any, shape: Any, *, strict: bool, where: str = "body") -> None:
    """Compare a value with a shape.

    :param strict: refuse unknown fields of closed objects; otherwise they are ignored.
    :raises Refusal: 400 ModelArts.0104, naming the place.
    """
    if shape is ANY or (isinstance(shape, OrNull) and value is None):
        return
    if isinstance(shape, OrNull):
        shape = shape.shape
    if isinstance(shape, Table):
        _check_table(value, shape, strict=strict, where=where)
    elif isinstance(shape, Each):
        if not isinstance(value, list):
            raise refuse("0104", f"{where} is not a list")
        for index, item in enumerate(value):
            check(item, shape.item, strict=strict, where=f"{where}[{index}]")
    elif isinstance(shape, One):
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value not in shape.values:
            raise refuse("0104", f"{where} has a value that is not allowed")
    elif not _is_of(value, shape):
        raise refuse("0104", f"{where} has the wrong type")


def _is_of(value: Any, kinds: Any) -> bool:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, bool):  # in Python a bool is an int, in JSON it is not a number
        return bool in kinds
    return isinstance(value, kinds)


def _check_table(value: Any, shape: Table, *, strict: bool, where: str) -> None:
    if not isinstance(value, dict):
        raise refuse("0104", f"{where} is not an object")
    for name in shape.required:
        if name not in value:
            raise refuse("0104", f"{where}.{name} is missing")
    for name, item in value.items():
        known = shape.fields.get(name)
        if known is None and shape.is_open:
            known = shape.rest
        if known is not None:
            check(item, known, strict=strict, where=f"{where}.{name}")
        elif strict and not shape.is_open:
            raise refuse("0104", f"{where}.{name} is not known")
