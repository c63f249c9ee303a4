"""Request models: what is sent of what a user gives, and what is refused before. Contract 2.1, 3.1, 4.1."""

from __future__ import annotations

import json
import pickle
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BeforeValidator, Field, ValidationError

import airflow_provider_modelarts.client.requests as package
from airflow_provider_modelarts.client import SampleState, TaskType
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.requests import search, tasks
from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    Flag,
    Id,
    Integer,
    Number,
    RequestBody,
    to_body,
)
from airflow_provider_modelarts.client.requests.samples import SampleLabels, SampleMetadata
from airflow_provider_modelarts.client.requests.search import SearchCondition, conditions_text
from airflow_provider_modelarts.client.requests.tasks import (
    CreateTaskRequest,
    ExportParams,
    InfConfig,
    SmartTaskConfig,
    TrainingParameter,
)
from airflow_provider_modelarts.client.requests.teams import CreateWorkforceTaskRequest
from airflow_provider_modelarts.client.sample_updates import labeled_elements
from airflow_provider_modelarts.client.validation import as_number
from tests.support.contract import Operation, at, find_operation, is_valid, operations
from tests.support.request_models import (
    KNOWN_MISSING_MODELS,
    MODELS,
    WITHOUT_MODEL,
    examples_of,
    models_below,
)
from tests.support.summary import SUMMARY_LINE
from tests.test_contract_check import BAD, spoiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHAT = "start an auto-label task on dataset d"


def start(**config: Any) -> dict[str, Any]:
    body = to_body(CreateTaskRequest, {"task_type": "auto-label", "config": config}, WHAT)
    return body["config"]  # type: ignore[no-any-return]


def refusal(model: type[RequestBody], given: Any, extra: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        to_body(model, given, WHAT, extra)
    text = str(caught.value)
    assert text.startswith(f"Cannot {WHAT}: ")
    assert "\n" not in text
    return text.removeprefix(f"Cannot {WHAT}: ")


# --- what is sent


def test_only_what_was_given_is_sent() -> None:
    assert start() == {}
    assert start(name=None, inf_config_list=[{"weight": 0, "envs": None}]) == {"inf_config_list": [{"weight": 0}]}
    assert to_body(SmartTaskConfig, SmartTaskConfig(name=None, ambiguity=False), WHAT) == {"ambiguity": False}
    assert to_body(CreateTaskRequest, {}, WHAT) == {}


def test_a_model_a_dict_and_its_json_text_are_the_same() -> None:
    config = SmartTaskConfig(algorithm_type="fast", inf_config_list=[InfConfig(instance_count=2, envs={"A": "1"})])
    body = {"algorithm_type": "fast", "inf_config_list": [{"instance_count": 2, "envs": {"A": "1"}}]}
    for given in (config, body, json.dumps(body)):
        assert to_body(SmartTaskConfig, given, WHAT) == body  # type: ignore[arg-type]
        assert to_body(CreateTaskRequest, {"config": given}, WHAT) == {"config": body}
    assert start(inf_config_list=[InfConfig(weight=1), {"weight": 2}, '{"weight": "3"}']) == {
        "inf_config_list": [{"weight": 1}, {"weight": 2}, {"weight": 3}]
    }
    assert start(inf_config_list='[{"weight": "3"}]') == {"inf_config_list": [{"weight": 3}]}
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"stop_time": "5"}, {"stop_time": 5}),
        ({"stop_time": 5.0}, {"stop_time": 5}),
        ({"ambiguity": "True"}, {"ambiguity": True}),
        ({"ambiguity": "false"}, {"ambiguity": False}),
        ({"export_format": "1"}, {"export_format": 1}),
        ({"n_clusters": "2"}, {"n_clusters": 2}),
        ({"model_id": 1}, {"model_id": "1"}),
        ({"samples": [{"sample_id": 7, "labels": [{"name": "a", "score": "0.5", "type": "0"}]}]},
         {"samples": [{"sample_id": "7", "labels": [{"name": "a", "score": 0.5, "type": 0}]}]}),
        ({"samples": [{"sample_id": "s", "metadata": {"@modelarts:hard": True}}]},
         {"samples": [{"sample_id": "s", "metadata": {"@modelarts:hard": True}}]}),
        ({"samples": [{"sample_id": "s", "metadata": {"@modelarts:hard": 1, "mine": None}}]},
         {"samples": [{"sample_id": "s", "metadata": {"@modelarts:hard": 1, "mine": None}}]}),
        ({"parameters": [{"label": "a", "value": "1", "more": 2}]},
         {"parameters": [{"label": "a", "value": "1", "more": 2}]}),
        ({"export_params": {"sample_state": SampleState.PROPOSED}},
         {"export_params": {"sample_state": "__AUTO_ANNOTATION__"}}),
        ({"inf_config_list": ({"weight": 1},)}, {"inf_config_list": [{"weight": 1}]}),
    ],
)  # fmt: skip
def test_text_from_templates_becomes_what_it_means(given: dict[str, Any], sent: dict[str, Any]) -> None:
    found = start(**given)
    assert (found, json.dumps(found, sort_keys=True)) == (sent, json.dumps(sent, sort_keys=True))


def test_a_number_keeps_its_kind() -> None:
    labels = [{"name": "a", "score": 1}, {"name": "a", "score": 1.0}]
    sent = to_body(SampleLabels, {"sample_id": "s", "labels": labels}, WHAT)
    assert json.dumps(sent["labels"]) == json.dumps(labels)


def test_a_field_is_set_by_its_own_name_or_by_the_services_key() -> None:
    by_key = SampleMetadata.model_validate({"@modelarts:hard_coefficient": 0.5, "hard": "an attribute"})
    by_name = SampleMetadata(modelarts_hard_coefficient=0.5, hard="an attribute")  # type: ignore[call-arg]
    assert by_key == by_name
    assert to_body(SampleMetadata, by_name, WHAT) == {"@modelarts:hard_coefficient": 0.5, "hard": "an attribute"}


def test_an_enum_goes_as_its_value() -> None:
    body = to_body(CreateTaskRequest, {"task_type": TaskType.PRE_LABEL}, WHAT)
    assert type(body["task_type"]) is str


# --- what is refused

NESTED = "config.inf_config_list[0].instance_count"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"algoritm_type": "fast"}, "config.algoritm_type is unknown; is algorithm_type meant?"),
        ({"zzz": 1, "yyy": 2}, "config.zzz is unknown; if the service knows it, give it in extra (also unknown: yyy)."),
        ({"flavor": {"kode": "x", "size": 1}}, "config.flavor.kode is unknown; is code meant? (also unknown: size)."),
        ({"flavor": {"zzz": "x"}}, "config.flavor.zzz is unknown; known are code."),
        ({"inf_config_list": [{"instance_count": "two"}]}, f"{NESTED} must be a whole number, not 'two'."),
        ({"inf_config_list": [{"instance_count": 0}]}, f"{NESTED} must be at least 1, not 0."),
        ({"inf_config_list": [{"instance_count": ""}]}, f"{NESTED} must be a whole number, not ''."),
        ({"inf_config_list": [{"instance_count": "None"}]}, f"{NESTED} must be a whole number, not 'None'."),
        ({"inf_config_list": [{"instance_count": True}]}, f"{NESTED} must be a whole number, not True."),
        ({"inf_config_list": [{"instance_count": 1.5}]}, f"{NESTED} must be a whole number, not 1.5."),
        ({"inf_config_list": [{"instance_count": "1_0"}]}, f"{NESTED} must be a whole number, not '1_0'."),
        ({"inf_config_list": [{}, {"weight": "101"}]},
         "config.inf_config_list[1].weight must be at most 100, not '101'."),
        ({"inf_config_list": {"weight": 1}}, "config.inf_config_list must be a list, not an object."),
        ({"inf_config_list": "weight"}, "config.inf_config_list must be a list; the text given is no JSON of one."),
        ({"flavor": "p3"}, "config.flavor must be an object; the text given is no JSON of one."),
        ({"flavor": ["p3"]}, "config.flavor must be an object, not a list."),
        ({"algorithm_type": "slow"}, "config.algorithm_type must be one of 'fast' or 'accurate', not 'slow'."),
        ({"ambiguity": ""}, "config.ambiguity must be true or false, not ''."),
        ({"ambiguity": "None"}, "config.ambiguity must be true or false, not 'None'."),
        ({"name": 5}, "config.name must be text, not 5."),
        ({"stop_time": float("nan")}, "config.stop_time must be a whole number, not nan."),
        ({"model_id": ""}, "config.model_id must be an id as text, not ''."),
        ({"model_id": "None"}, "config.model_id must be an id as text, not 'None'."),
        ({"samples": [{"labels": []}]}, "config.samples[0].sample_id is missing."),
        ({"samples": [{"sample_id": None}]}, "config.samples[0].sample_id is missing."),
        ({"confidence_scope": "0.1"},
         "config.confidence_scope must be a range such as 0.10-0.90, both from 0 to 1, not '0.1'."),
        ({"samples": [{"sample_id": "s", "metadata": {"@modelarts:size": [1]}}]},
         "config.samples[0].metadata.@modelarts:size must have at least 2 elements."),
    ],
)  # fmt: skip
def test_a_refusal_has_the_path_and_says_what_is_wrong(config: dict[str, Any], complaint: str) -> None:
    assert refusal(CreateTaskRequest, {"task_type": "auto-label", "config": config}) == complaint


@pytest.mark.parametrize("labels", [{}, {"labels": None}])
def test_labels_that_are_not_given_are_not_sent_as_none(labels: dict[str, Any]) -> None:
    """The service may take a missing list for an empty one, which removes all labels."""
    with pytest.raises(InvalidRequest, match="has no labels to write"):
        labeled_elements([{"sample_id": "s", **labels}])
    assert start(samples=[{"sample_id": "s", **labels}]) == {"samples": [{"sample_id": "s"}]}


def test_several_problems_are_told_together() -> None:
    said = refusal(SmartTaskConfig, {"stop_time": 0, "name": 1, "ambiguity": 2, "engine_name": 3, "time": 4})
    assert said.count(";") == 3
    assert said.endswith("and 2 more.")


@pytest.mark.parametrize("given", [5, "fast", "[1]", ["a"], None, "{", "[" * 5000])
def test_what_is_no_object_is_refused(given: Any) -> None:
    assert refusal(CreateTaskRequest, given).startswith("the request must be an object")


def test_a_model_of_another_request_is_refused() -> None:
    assert refusal(CreateTaskRequest, InfConfig()) == "give CreateTaskRequest, not InfConfig."
    assert "config must be an object" in refusal(CreateTaskRequest, {"config": InfConfig()})


def test_a_model_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        InfConfig(weight=1).weight = 2  # type: ignore[misc]


# --- secrets


class _Account(RequestBody):
    user_password: str | None = None
    port: Integer | None = None
    address: Literal["a"] | None = None


class _Source(RequestBody):
    account: _Account | None = None
    size: Integer | None = None


SIGNED = "https://bucket.example.com/a.jpg?Signature=hush-hush"


@pytest.mark.parametrize(
    "given",
    [
        {"account": {"user_password": ["hush-hush"]}},
        {"account": {"user_password": 5, "port": "x"}},
        {"account": '{"user_password": "hush-hush"'},
        {"account": [{"user_password": "hush-hush"}]},
        {"size": {"user_password": "hush-hush"}},
        {"account": {"address": SIGNED}},
    ],
)
def test_secrets_are_not_quoted(given: dict[str, Any]) -> None:
    assert "hush" not in refusal(_Source, given)
    with pytest.raises(ValidationError) as caught:
        _Source.model_validate(given)
    assert "hush" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    source = _Source(account=_Account(user_password="hush-hush"))
    assert "hush" not in repr(source)
    assert "user_password" in repr(source)
    assert "hush" not in repr(SmartTaskConfig(manifest_path=SIGNED))
    assert to_body(_Source, source, WHAT) == {"account": {"user_password": "hush-hush"}}


# --- what the contract does not know


def test_extra_is_merged_last_at_every_depth() -> None:
    given = {"task_type": "auto-label", "config": {"algorithm_type": "fast"}}
    extra = {"priority": None, "config": {"seed": "7"}}
    assert to_body(CreateTaskRequest, given, WHAT, extra) == {
        "task_type": "auto-label",
        "config": {"algorithm_type": "fast", "seed": "7"},
        "priority": None,
    }
    assert to_body(CreateTaskRequest, {}, WHAT, {"config": {"seed": 7}}) == {"config": {"seed": 7}}
    assert given == {"task_type": "auto-label", "config": {"algorithm_type": "fast"}}


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ({"task_type": "x"}, "extra.task_type"),
        ({"config": 5}, "extra.config"),
        ({"config": {"name": "x"}}, "extra.config.name"),
        ({"config": {"inf_config_list": [{}]}}, "extra.config.inf_config_list"),
        ({"config": {"flavor": {"code": "x"}}}, "extra.config.flavor.code"),
    ],
)
def test_extra_does_not_go_past_the_checks(extra: dict[str, Any], place: str) -> None:
    assert refusal(CreateTaskRequest, {}, extra).startswith(f"{place} is a field of the request itself")


@pytest.mark.parametrize("given", [{}, {"config": {"name": "x"}}])
def test_an_object_of_extra_that_holds_nothing_is_refused(given: dict[str, Any]) -> None:
    """It would go out as an empty object: a team task with an empty workforces_config is not started."""
    for extra in ({"config": {}}, {"config": {"flavor": {}}}):
        assert "holds no fields: leave it out" in refusal(CreateTaskRequest, given, extra)
    assert refusal(CreateWorkforceTaskRequest, {"task_name": "a"}, {"workforces_config": {}}).startswith(
        "extra.workforces_config holds no fields"
    )


def test_extra_by_the_services_key_or_the_own_name() -> None:
    for key in ("@modelarts:hard", "modelarts_hard"):
        assert "field of the request itself" in refusal(SampleMetadata, {}, {key: 1})
    assert refusal(SampleMetadata, {}, "x") == "extra must be an object of additional fields."


# --- search conditions


def test_conditions_go_as_the_json_text_of_a_list() -> None:
    one = {"hard": "1", "label_list": {"labels": [{"name": "a", "property": {"b": None, "c": ["d"]}}]}}
    for given in (one, [one], json.dumps(one), json.dumps([one]), SearchCondition.model_validate(one)):
        assert json.loads(conditions_text(given, WHAT) or "") == [one]
    assert conditions_text(None, WHAT) is None
    assert conditions_text([], WHAT) == "[]"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"hrad": "1"}, r"search_conditions\[0\]\.hrad is unknown; is hard meant\?"),
        ([{}, {"hard": 1}], r"search_conditions\[1\]\.hard must be one of"),
        ({"label_list": {"labels": [{"nmae": "a"}]}}, r"label_list\.labels\[0\]\.nmae is unknown; is name meant\?"),
        ({"label_list": {"labels": [{}, {}]}}, r"\[0\]\.label_list has several labels, so it needs op"),
        ({"label_list": {"labels": [{"property": {"a": [1]}}]}}, r"labels\[0\]\.property\.a\[0\] must be text, not 1"),
        ({"metadata": {"prop": {}}}, r"metadata\.prop is unknown; is props meant\?"),
        ({"metadata": {"props": {"a": "b"}}}, r"metadata\.props\.a must be a list"),
        ({"sample_dir": "a/b"}, r"sample_dir must be a folder that ends with a slash, not 'a/b'"),
        ({"sample_time": "yesterday"}, r"sample_time must be month, day, or a span"),
        ({"sample_time": "20190901-20191015"}, r"sample_time must be a span of at most 30 days"),
        ({"sample_time": "20190915-20190901"}, r"the first day first"),
        ({"sample_time": "20190901-20190931"}, r"names a day that does not exist"),
        ("{", r"the text given is no JSON"),
        ("[1]", "must be a list of conditions"),
        (5, "must be a list of conditions"),
    ],
)
def test_wrong_conditions_are_refused(given: Any, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        conditions_text(given, WHAT)


# --- against the contract

DRAWS = 400
# Where a model is stricter than the schema, by the words of its refusal.
STRICTER = (
    *("sample_id is missing", "labels is missing", "must be an id as text", "so it needs op", "does not exist"),
    *("at most 30 days", "first day first", "e-mail address", "samples is missing", "].name is missing"),
    *("is empty: give", "has no name in element", " times: ", "must be a path of OBS", "must be a file name"),
    *("must be the bytes of the file", "not exactly one of data", "no folder in a bucket", "within its data_path"),
    *("at least 1 element", "either agency or workforces", "task_name is missing", "comments is missing"),
    "workforces_config is missing",
)
# The contract takes these numbers as text, too.
AS_TEXT = ("n_clusters", "role")


def without_null(value: Any) -> Any:
    """Return a value as a model sends it where null is not of the contract: it stands for not given."""
    if isinstance(value, dict):
        return {key: without_null(part) for key, part in value.items() if part is not None}
    return [without_null(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("schema", MODELS)
def test_every_example_of_the_contract_passes_without_loss(schema: str) -> None:
    for value in examples_of(schema):
        sent = to_body(MODELS[schema], value, WHAT)
        assert is_valid(f"/components/schemas/{schema}")(sent)
        assert without_numbers_as_text(sent) == without_numbers_as_text(value)


def without_numbers_as_text(value: Any) -> Any:
    """Return a value in which ``"2"`` and 2 are the same where the contract takes both."""
    if isinstance(value, dict):
        return {
            key: as_number(part) if key in AS_TEXT and as_number(part) is not None else without_numbers_as_text(part)
            for key, part in value.items()
        }
    return [without_numbers_as_text(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("schema", MODELS)
def test_what_the_schema_refuses_the_model_refuses_or_mends(schema: str) -> None:
    valid = is_valid(f"/components/schemas/{schema}")
    draw = random.Random(schema)
    sources = list(examples_of(schema))
    wrong, refused = 0, 0
    for _ in range(DRAWS):
        value = spoiled(draw.choice(sources), draw)
        sent = body_or_refusal(MODELS[schema], value)
        wrong += not valid(value)
        if isinstance(sent, str):
            refused += not valid(value)
            assert not valid(value) or any(reason in sent for reason in STRICTER), (value, sent)
        else:
            assert valid(sent), (value, sent)
            mended = not valid(value)
            wrong -= mended  # such as "true" where the contract has true
            assert mended or without_numbers_as_text(without_null(sent)) == without_numbers_as_text(without_null(value))
    assert refused == wrong > DRAWS / 10


def body_or_refusal(model: type[RequestBody], value: Any) -> dict[str, Any] | str:
    try:
        return to_body(model, value, WHAT)
    except InvalidRequest as error:
        return str(error)


def schema_of(operation: Operation | None) -> str | None:
    """Return the name of the schema of an operation's body."""
    content = (operation.node if operation else {}).get("requestBody", {}).get("content", {})
    return content["application/json"]["schema"]["$ref"].rpartition("/")[2] if content else None


def test_every_body_of_the_contract_has_a_model() -> None:
    bodies = {schema for _, operation in operations() if (schema := schema_of(operation))}
    assert bodies - set(MODELS) - WITHOUT_MODEL == KNOWN_MISSING_MODELS


def wrong_bodies() -> Iterator[tuple[str, Any]]:
    """Yield schema and body of requests, many of them wrong: those of the check of all exchanges, and spoiled ones."""
    for record, _ in BAD.values():
        schema = schema_of(find_operation(record.method, record.path))
        if schema not in MODELS or not record.body.endswith(b"}") or b"NaN" in record.body or b",}" in record.body:
            continue  # another body, or none, or no JSON: the transport writes none such
        yield schema, json.loads(record.body)
    for schema in MODELS:
        draw, sources = random.Random(f"counted {schema}"), examples_of(schema)
        for _ in range(DRAWS):
            yield schema, spoiled(draw.choice(sources), draw)


def test_the_client_keeps_back_as_many_wrong_requests_as_the_contract_refuses(
    record_property: Callable[[str, object], None],
) -> None:
    by_contract, refused, mended, sent_wrong = 0, 0, 0, []
    for schema, value in wrong_bodies():
        valid = is_valid(f"/components/schemas/{schema}")
        if valid(value):
            continue
        by_contract += 1
        sent = body_or_refusal(MODELS[schema], value)
        if isinstance(sent, str):
            refused += 1
        elif valid(sent):  # such as "true" where the contract has true
            mended += 1
        else:
            sent_wrong.append((schema, value, sent))
    by_client = refused + mended
    record_property(
        SUMMARY_LINE,
        f"Wrong requests: the contract refuses {by_contract}, the client keeps back {by_client} "
        f"({refused} refused, {mended} put right).",
    )
    assert sent_wrong == []
    assert by_client >= by_contract > 1000
    assert refused > mended > 0


@pytest.mark.parametrize("schema", MODELS)
def test_a_model_has_the_fields_of_its_schema(schema: str) -> None:
    known = set(at(f"/components/schemas/{schema}")["properties"])
    assert set(MODELS[schema].service_keys().values()) == known


def test_a_labeling_task_has_39_settings() -> None:
    assert len(SmartTaskConfig.model_fields) == 39
    assert set(SmartTaskConfig.service_keys().values()) == set(
        at("/components/schemas/SmartTaskConfigInput")["properties"]
    )
    assert set(ExportParams.service_keys()) == set(at("/components/schemas/ExportParamsInput")["properties"])


# --- all models, also those of other modules


def all_models() -> list[type[RequestBody]]:
    return list(models_below(package))


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.__name__)
def test_every_field_says_what_it_is_and_takes_text_from_templates(model: type[RequestBody]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} says nothing of itself"
        is_converted = any(isinstance(one, BeforeValidator) for one in field.metadata)
        assert is_converted or not bare_kinds(field.annotation), f"{model.__name__}.{name}: use Integer, Number, Flag"


def bare_kinds(annotation: Any) -> set[type]:
    """Return the kinds of numbers that pydantic alone would read, which takes True for 1 and "1_0" for 10."""
    if get_origin(annotation) is Annotated:
        return set()
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in get_args(annotation)} - {str}
    parts = get_args(annotation)
    return set().union(*map(bare_kinds, parts)) if parts else {one for one in (int, float, bool) if one is annotation}


def test_the_models_are_found() -> None:
    found = all_models()
    assert {CreateTaskRequest, SampleLabels, SearchCondition, TrainingParameter} <= set(found)
    assert len({model.__name__ for model in found}) == len(found)
    assert {search.__name__, tasks.__name__} <= {model.__module__ for model in found}


class _Types(RequestBody):
    whole: Integer | None = Field(default=None, ge=0, le=9)
    number: Number | None = Field(default=None, gt=0, lt=1)
    flag: Flag | None = None
    id: Id | None = None
    names: Annotated[list[str], FROM_JSON] | None = Field(default=None, max_length=1)


def wrong_values() -> list[Any]:
    return [
        ({"whole": 10}, "whole must be at most 9, not 10."),
        ({"number": 0}, "number must be above 0, not 0."),
        ({"number": "1.0"}, "number must be below 1, not '1.0'."),
        ({"number": float("inf")}, "number must be a number, not inf."),
        ({"flag": 2}, "flag must be true or false, not 2."),
        ({"id": 1.5}, "id must be an id as text, not 1.5."),
        ({"names": ["a", "b"]}, "names must have at most 1 elements."),
        ({"names": "a"}, "names must be a list; the text given is no JSON of one."),
    ]


@pytest.mark.parametrize(("given", "complaint"), wrong_values())
def test_the_types_that_models_are_made_of(given: dict[str, Any], complaint: str) -> None:
    assert refusal(_Types, given) == complaint
