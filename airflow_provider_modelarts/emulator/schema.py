"""Shapes of request bodies, and the check against them (contract 10, row "JSON")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.errors import refuse
from airflow_provider_modelarts.emulator.paging import LABEL_TYPES

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
    """

    fields: Mapping[str, Any]
    is_open: bool = False
    required: tuple[str, ...] = ()


ANY = object()
NUMBER = (int, float)

LABEL = Table(
    {
        "name": str,
        "type": One(LABEL_TYPES),
        "id": str,
        "score": NUMBER,
        "annotated_by": One(frozenset({"human", "auto"})),
        "property": Table({}, is_open=True),
    },
    required=("name",),
)
METADATA = Table(
    {"@modelarts:hard": (bool, int, float), "@modelarts:hard_coefficient": NUMBER, "@modelarts:size": Each(int)},
    is_open=True,
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
                        "sample_type": One(frozenset({0, 1, 2, 4, 6, 9})),
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
    "text": _update_samples(Table({**LABEL.fields, "score": (*NUMBER, str)}, required=LABEL.required)),
}
# contract 2.1
START_TASK = Table(
    {
        "task_type": One(frozenset({"auto-label", "pre-label", "auto-grouping"})),
        "collect_key_sample": bool,
        "model_id": str,
        "config": Table(
            {
                "algorithm_type": One(frozenset({"fast", "accurate"})),
                "ambiguity": bool,
                "image_brightness": bool,
                "image_colorfulness": bool,
                "n_clusters": (int, str),
                "name": str,
                "property": str,
                "result_type": One(frozenset({0, 1})),
                "confidence_scope": str,
                "inf_config_list": Each(Table({}, is_open=True)),
                "collect_sample": bool,
                "export_format": One(frozenset({1, 2})),
                "stop_time": int,
                "worker_server_num": int,
                "weight": int,
                "description": str,
                "model_id": str,
            },
            is_open=True,
        ),
    },
    required=("task_type",),
)
# contract 6.2
LABELS = Table(
    {
        "labels": Each(
            Table(
                {
                    "name": str,
                    "type": One(LABEL_TYPES),
                    "property": Table({}, is_open=True),
                    "attributes": Each(Table({}, is_open=True)),
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
    if shape is ANY:
        return
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
        if known is not None:
            check(item, known, strict=strict, where=f"{where}.{name}")
        elif strict and not shape.is_open:
            raise refuse("0104", f"{where}.{name} is not known")
