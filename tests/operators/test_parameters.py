"""Values as authors write them and as templates render them; each wrong one gets one clear line."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import is_template

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (parameters.identifier, "6mHUGe7ETlhayb4qDMN", "6mHUGe7ETlhayb4qDMN"),
        (parameters.identifier, 4711, "4711"),
        (parameters.identifier, " padded\n", "padded"),
        (parameters.label, " rose", " rose"),
        (parameters.label, 7, "7"),
        (parameters.score, "0.9", 0.9),
        (parameters.score, " 9e-1\n", 0.9),
        (parameters.score, Decimal("0.9"), 0.9),
        (parameters.score, Fraction(1, 2), 0.5),
        (parameters.score, 0, 0.0),
        (parameters.score, 1, 1.0),
        (parameters.whole(1, 10), "3", 3),
        (parameters.whole(1, 10), 10.0, 10),
        (parameters.seconds, timedelta(minutes=2), 120.0),
        (parameters.seconds, "2.5", 2.5),
        (parameters.flag, True, True),
        (parameters.flag, "False", False),
        (parameters.flag, "true", True),
        (parameters.mapping, {"a": 1}, {"a": 1}),
        (parameters.mapping, '{"a": 1.0}', {"a": 1.0}),
        (
            parameters.config,
            {"n_clusters": "2", "ambiguity": "false", "property": "size"},
            {"n_clusters": 2, "ambiguity": False, "property": "size"},
        ),
        # what native rendering makes of text
        (
            parameters.config,
            {"name": 20261127, "model_version": 1.5, "description": datetime(2026, 11, 27, 1, 2, tzinfo=UTC)},
            {"name": "20261127", "model_version": "1.5", "description": "2026-11-27T01:02:00+00:00"},
        ),
        (parameters.config, {"name": date(2026, 11, 27)}, {"name": "2026-11-27"}),
        (parameters.config, {"name": Decimal("20261127")}, {"name": "20261127"}),
        (parameters.config, {"name": None, "export_params": None}, {"name": None, "export_params": None}),
        (parameters.config, {"n_clusters": Decimal(2)}, {"n_clusters": 2}),
        (
            parameters.config,
            {"inf_config_list": ({"weight": Decimal("0.5"), "envs": {"DAY": date(2026, 11, 27)}},)},
            {"inf_config_list": [{"weight": 0.5, "envs": {"DAY": "2026-11-27"}}]},
        ),
        (parameters.optional(parameters.score), None, None),
        (parameters.optional(parameters.score), "0.5", 0.5),
    ],
)
def test_a_value_and_its_text_are_the_same(read: Callable[[str, Any], Any], value: object, found: object) -> None:
    assert repr(read("it", value)) == repr(found)


@pytest.mark.parametrize(
    ("read", "value", "complaint"),
    [
        (parameters.identifier, "", "it is empty ('')"),
        (parameters.identifier, "None", "it is empty ('None')"),
        (parameters.identifier, None, "it is empty (None)"),
        (parameters.identifier, ["a"], "it must be an id as text, not ['a']."),
        (parameters.identifier, True, "it must be an id as text, not True."),
        (parameters.label, "", "it must be the name of a label, not ''."),
        (parameters.label, "None", "it must be the name of a label, not 'None'."),
        (
            parameters.config,
            {"algorithm_type": "slow"},
            "it['algorithm_type'] must be one of fast, accurate, not 'slow'",
        ),
        (parameters.score, "high", "it must be a number from 0 to 1, not 'high'."),
        (parameters.score, 1.01, "it must be a number from 0 to 1, not 1.01."),
        (parameters.score, "nan", "it must be a number from 0 to 1, not 'nan'."),
        (parameters.score, True, "it must be a number from 0 to 1, not True."),
        (parameters.score, "0_1", "it must be a number from 0 to 1, not '0_1'."),
        (parameters.score, "\uff10.9", "it must be a number from 0 to 1, not "),
        (parameters.score, Decimal("NaN"), "it must be a number from 0 to 1, not Decimal"),
        (parameters.whole(1, 1000), "1_0", "it must be a number from 1 to 1000, not '1_0'."),
        (parameters.whole(1, 1000), 10**400, "it must be a number from 1 to 1000, not 1000"),
        (parameters.seconds, "infinity", "it must be a number of at least 0, not 'infinity'."),
        (parameters.label, 5.0, "it must be the name of a label, not 5.0."),
        (parameters.label, True, "it must be the name of a label, not True."),
        (parameters.config, {"name": True}, "it['name'] must be text, not True."),
        (parameters.config, {"name": ["a"]}, "it['name'] must be text, not ['a']."),
        (parameters.config, {"flavor": {"code": object}}, "it['flavor']['code'] must be what JSON can say"),
        (parameters.config, {"parameters": [{"value": {1, 2}}]}, "it['parameters'][0]['value'] must be what JSON can"),
        (parameters.config, {"export_params": math.nan}, "it['export_params'] must be a finite number, not nan."),
        (parameters.config, {"export_params": b"x"}, "it['export_params'] must be what JSON can say"),
        (parameters.config, {1: 2}, "it has the key 1: keys must be text."),
        (parameters.score, "None", "it is empty ('None')"),
        (parameters.whole(1, 1000), 0, "it must be a number from 1 to 1000, not 0."),
        (parameters.whole(1, 1000), 2.5, "it must be a whole number from 1 to 1000, not 2.5."),
        (parameters.seconds, 0, "it must be a duration longer than 0 seconds, not 0."),
        (parameters.seconds, float("inf"), "it must be a number of at least 0, not inf."),
        (parameters.flag, "maybe", "it must be true or false, not 'maybe'."),
        (parameters.flag, 2, "it must be true or false, not 2."),
        (parameters.mapping, "{", "it must be a dict, or its JSON text, not '{'."),
        (parameters.mapping, [1], "it must be a dict, or its JSON text, not [1]."),
        (parameters.config, {"n_clusters": "two"}, "it['n_clusters'] must be a number from 0"),
        (parameters.choice("fail", "warn"), "ignore", "it must be one of fail, warn, not 'ignore'."),
        (parameters.label_task_type, "auto_label", "it must be one of auto-label, pre-label, auto-grouping"),
    ],
)
def test_what_makes_no_sense_gets_one_line_that_names_it(
    read: Callable[[str, Any], Any], value: object, complaint: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        read("it", value)
    assert str(raised.value).startswith(complaint)
    assert "\n" not in str(raised.value)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ParameterError) as raised:
        parameters.mapping("config", ["x" * 500])
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(
    ("config", "algorithm_type", "found"),
    [
        (None, None, None),
        (None, "fast", {"algorithm_type": "fast"}),
        ({"name": "n"}, "accurate", {"name": "n", "algorithm_type": "accurate"}),
        ({"algorithm_type": "fast"}, "fast", {"algorithm_type": "fast"}),
        ('{"algorithm_type": "fast"}', None, {"algorithm_type": "fast"}),
        ({"algorithm_type": None}, None, {"algorithm_type": None}),
    ],
)
def test_the_algorithm_is_a_field_of_the_configuration(
    config: object, algorithm_type: str | None, found: dict[str, Any] | None
) -> None:
    assert parameters.labeling_config(config, algorithm_type) == found


def test_an_algorithm_that_contradicts_the_configuration_is_refused() -> None:
    with pytest.raises(ParameterError, match="algorithm_type is 'fast', but config says 'accurate'"):
        parameters.labeling_config({"algorithm_type": "accurate"}, "fast")


def test_reading_a_configuration_leaves_the_original_alone() -> None:
    given = {"n_clusters": "2"}
    parameters.labeling_config(given, "fast")
    assert given == {"n_clusters": "2"}


@pytest.mark.parametrize(
    "value",
    ["{{ params.x }}", "a {% if b %}", {"min_score": "{{ params.x }}"}, [{"a": ["{{ x }}"]}], {"{{ k }}": 1}, object()],
)
def test_templates_are_left_to_the_run(value: object) -> None:
    assert is_template(value)


@pytest.mark.parametrize("value", ["0.5", 0.5, None, {"a": [1, "b"]}, timedelta(1), True])
def test_what_is_no_template_is_known_when_the_dag_is_parsed(value: object) -> None:
    assert not is_template(value)
