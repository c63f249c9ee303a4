"""Reads the parameters of all operators and of the sensor, as a DAG author wrote them or a template rendered them.

A template renders to text: ``"0.9"``, ``"true"`` and ``'{"algorithm_type": "fast"}'`` are as good as the values
themselves. Blank text (``""``, ``"None"``) is an error and never "not given": without a filter or a threshold that got
lost in a template, more would be confirmed than the author wanted. The checks are those of ``client/validation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_modelarts.client import validation
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.states import ALGORITHM_TYPES, TaskType
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client.requests.base import RequestBody
    from airflow_provider_modelarts.operators._templates import TemplatedOperator

Value = TypeVar("Value")

# What timedelta takes; its own greatest value is more than that as soon as it is a number of seconds.
_LONGEST = timedelta(days=999_999_999).total_seconds()


def optional(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return a function that reads as ``read`` does, and None as None."""
    return lambda name, value: None if value is None else read(name, value)


def _reader(check: Callable[..., Value], *expected: Any, may_be_blank: bool = False) -> Callable[[str, Any], Value]:
    """Return a function that reads a value as a check of the client does, with this package's error.

    :param expected: further arguments of the check
    :param may_be_blank: whether the check judges empty text and None itself
    """

    def read(name: str, value: object) -> Value:
        try:
            return check(name, value if may_be_blank else _given(name, value), *expected)
        except InvalidRequest as error:
            raise ParameterError(error.message) from None

    return read


def _given(name: str, value: object) -> object:
    if validation.is_blank(value):
        raise ParameterError(
            f"{name} is empty ({value!r}): look at the template or the task that it comes from"
            ", or leave the parameter out if it may be left out."
        )
    return value


def _wrong(name: str, expected: str, value: object) -> ParameterError:
    return ParameterError(validation.wrong(name, expected, value).message)


def _stripped(name: str, value: object) -> str:
    text = validation.digits_as_text(value)
    return validation.validate_id(name, text.strip() if isinstance(text, str) else value)


def _label(name: str, value: object) -> str:
    text = validation.digits_as_text(value)
    return validation.validate_label(name, text if isinstance(text, str) else value)


def _email(name: str, value: object) -> str:
    return validation.validate_email(name, _stripped(name, value))


def _dict(name: str, value: object) -> dict[str, Any]:
    found = validation.decoded(value, name)
    if not isinstance(found, dict):
        raise validation.wrong(name, "a dict, or its JSON text", value)
    return found


def _label_type(name: str, value: object) -> int:  # noqa: ARG001 - the name is the service's
    from airflow_provider_modelarts.client.requests.search import read_label_type

    return read_label_type(value)


def _conditions(name: str, value: Any) -> list[dict[str, Any]]:
    from airflow_provider_modelarts.client.requests.search import choosing_conditions

    return choosing_conditions(value, f"read {name}")


identifier = _reader(_stripped)
label_type = _reader(_label_type)
search_conditions = _reader(_conditions)
email = _reader(_email)
label = _reader(_label, may_be_blank=True)
flag = _reader(validation.validate_flag)
mapping = _reader(_dict)


def number(low: float, high: float = math.inf) -> Callable[[str, Any], float]:
    """Return a function that reads a number between two bounds, both included."""
    return _reader(lambda name, value: float(validation.validate_number(name, value, low, high)))


def whole(low: int, high: int) -> Callable[[str, Any], int]:
    """Return a function that reads a whole number between two bounds, both included."""
    return _reader(validation.validate_whole, low, high)


def choice(*allowed: str) -> Callable[[str, Any], str]:
    """Return a function that reads one of some words."""
    return _reader(validation.validate_choice, allowed, may_be_blank=True)


def seconds(name: str, value: object) -> float:
    """Return a duration in seconds, given as number or ``timedelta``; longer than nothing."""
    found = seconds_or_zero(name, value)
    if found <= 0:
        raise _wrong(name, "a duration longer than 0 seconds", value)
    return found


def seconds_or_zero(name: str, value: object) -> float:
    """Return a duration in seconds, given as number or ``timedelta``; 0 is one too."""
    return number(0)(name, value.total_seconds() if isinstance(value, timedelta) else value)


def countable(read: Callable[[str, Any], float]) -> Callable[[str, Any], float]:
    """Return a function that reads a duration of which Airflow makes a ``timedelta``; the longest is cut."""

    def read_countable(name: str, value: object) -> float:
        found = read(name, value)
        if found > _LONGEST and not isinstance(value, timedelta):
            raise _wrong(name, "a duration that Airflow can count, below a billion days", value)
        return min(found, _LONGEST)

    return read_countable


score = number(0, 1)
label_task_type = choice(*TaskType)
algorithm_type = choice(*ALGORITHM_TYPES)
if_running = choice("fail", "adopt", "wait")
fail_or_skip = choice("fail", "skip")


CONNECTION: dict[str, Callable[[str, Any], Any]] = {
    "modelarts_conn_id": identifier,
    "project_id": optional(identifier),
}
"""How the parameters are read that every operator and the sensor have."""

LABEL_TASK: dict[str, Callable[[str, Any], Any]] = {
    "dataset_id": identifier,
    "label_task_id": identifier,
    **CONNECTION,
}
"""How the parameters are read that name one labeling task."""


def config(name: str, value: object) -> dict[str, Any]:
    """Return the configuration of a labeling task (contract 2.1), each field as the kind that it is."""
    found = plain(name, value)
    for key, read in _CONFIG.items():
        if key in found:
            found[key] = read(f"{name}[{key!r}]", found[key])
    return found


def listed(name: str, value: object) -> list[Any]:
    """Return a list, or the JSON text of one; among them the outputs of mapped tasks."""
    found = validation.decoded(_given(name, value), name)
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes, bytearray)):
        raise _wrong(name, "a list, or its JSON text", value)
    return list(found)


def comments(name: str, value: object) -> list[dict[str, Any]]:
    """Return what is said of members' copies, a comment for each, as the service takes it (contract 5.2)."""
    from airflow_provider_modelarts.client.requests.teams import ReviewRequest
    from airflow_provider_modelarts.client.resources.team_tasks import comments_body

    try:
        found: list[dict[str, Any]] = comments_body(ReviewRequest, listed(name, value), f"read {name}")["comments"]
    except InvalidRequest as error:
        raise ParameterError(error.message) from None
    return found


def emails(name: str, value: object) -> list[str]:
    """Return e-mail addresses, at least one; a single one may stand alone."""
    given = value if not isinstance(value, str) or value.lstrip().startswith("[") else [value]
    found = [email(f"{name}[{place}]", one) for place, one in enumerate(listed(name, given))]
    if not found:
        raise _wrong(name, "a list with at least one e-mail address", value)
    return found


def plain(name: str, value: object) -> dict[str, Any]:
    """Return a dict, or the JSON text of one, as JSON can say it."""
    found: dict[str, Any] = _plain(name, mapping(name, value))
    return found


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong(name, "text", value)
    return str(value)


text = _reader(_text)


_TEXTS = (
    *("name", "description", "property", "engine_name", "collect_rule", "confidence_scope", "version_format"),
    *("model_id", "model_name", "model_version", "model_parameter", "inf_cluster_id", "pool_id"),
    *("annotation_output", "key_sample_output", "inf_output", "infer_result_output_dir", "output_dir"),
    *("train_url", "train_data_path", "manifest_path", "log_url", "req_uri", "time"),
)
# Fields of SmartTaskConfig (contract 2.1): templates make text of numbers and flags, native rendering makes numbers and
# dates of text.
_CONFIG: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(
        ("n_clusters", "result_type", "worker_server_num", "stop_time", "export_format"), whole(0, 2**31 - 1)
    ),
    **dict.fromkeys(("ambiguity", "image_brightness", "image_colorfulness", "collect_sample"), flag),
    **dict.fromkeys(_TEXTS, optional(_text)),
    "algorithm_type": optional(algorithm_type),
}


def _plain(name: str, value: object) -> Any:
    """Return what JSON can say: dates as ISO text, sequences as lists, exact decimals as numbers."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ParameterError(f"{name} has the key {key!r}: keys must be text.")
        return {key: _plain(f"{name}[{key!r}]", part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [_plain(f"{name}[{place}]", part) for place, part in enumerate(value)]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == int(value) else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(name, "a finite number", value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise _wrong(name, "what JSON can say: text, a number, true, false, null, a list or a dict", value)


def labeling_config(config_value: object, algorithm: object) -> dict[str, Any] | None:
    """Return the configuration to start with; ``algorithm_type`` is the short way to write the field of that name.

    :param config_value: the parameter ``config``: dict, JSON text or None
    :param algorithm: the parameter ``algorithm_type``: ``fast``, ``accurate`` or None
    :raises ParameterError: if both are given and differ
    """
    found = None if config_value is None else config("config", config_value)
    if algorithm is None:
        return found
    chosen = algorithm_type("algorithm_type", algorithm)
    if found and found.get("algorithm_type") not in (None, chosen):
        raise ParameterError(
            f"algorithm_type is {chosen!r}, but config says {found['algorithm_type']!r}. Give one of them."
        )
    return {**(found or {}), "algorithm_type": chosen}


def request_body(
    model: type[RequestBody],
    what: str,
    given: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of a request as JSON: parameters of an operator, and the fields that it has no parameter for.

    :param model: the request model that it must fit
    :param what: what the request is to do, for the error
    :param given: by field what a parameter gave; None for what was not given
    :param settings: further fields; None for none
    :param extra: fields that the model does not know; they are only checked, the client adds them. None for none
    :raises ParameterError: if it does not fit, or if a field is given in two ways
    """
    from airflow_provider_modelarts.client.requests.base import to_body

    own = {name: value for name, value in given.items() if value is not None}
    twice = sorted(own.keys() & (settings or {}).keys())
    if twice:
        raise ParameterError(f"{twice[0]} is given as a parameter and in settings. Give one of them.")
    try:
        body = to_body(model, {**(settings or {}), **own}, what)
        to_body(model, body, what, extra)
    except InvalidRequest as error:
        raise ParameterError(error.message) from None
    return body


def check_model(kind: object, model_id: object) -> None:
    """Refuse the kind ``pre-label`` without a model."""
    if kind == "pre-label" and model_id is None:
        raise ParameterError("pre-label runs a model: give its model_id.")


def refuse_taken_names(given: Mapping[str, Any], **names: str) -> None:
    """Refuse a parameter of Airflow's own where one of ours is meant.

    :param given: the parameters that go to Airflow
    :param names: by the name of such a parameter that of ours
    """
    # A mapped operator is given what Airflow found in default_args, where it was meant for Airflow.
    owners = (given.get("dag"), given.get("task_group"))
    defaults = [getattr(owner, "default_args", None) or {} for owner in owners]
    for name, ours in names.items():
        value = given.get(name)
        if value is not None and not any(found.get(name) == value for found in defaults):
            raise ParameterError(f"{name} is a name that Airflow keeps for itself: give {ours}.")


def hook(task: TemplatedOperator) -> ModelArtsHook:
    """Return the hook for an operator or sensor with the parameters ``modelarts_conn_id`` and ``project_id``."""
    return ModelArtsHook(**task.read_parameters(CONNECTION))


def no_triggerer(task: Any, what: str = "a labeling task") -> str:
    """Return the message for a wait that a triggerer did not end (B22).

    :param what: what was waited for
    """
    return (
        f"The wait for {what} of dataset {task.dataset_id} was handed to a triggerer, and none reported by "
        "the deadline. Check that a triggerer runs."
    )
