"""Tells a parameter that its author left out from one whose template, or whose upstream task, gave nothing.

Airflow replaces templates and outputs of other tasks when the task runs. A skipped task or a missing key leaves None,
and None is also how an author says "no policy", "no filter", "no ledger". So an operator records, when the DAG is
parsed, at which places of its parameters a value will be filled in, and refuses to run if one of them stayed empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_modelarts.client.wording import cut
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow.sdk import Context

    Readers = Mapping[str, Callable[[str, Any], Any]]
    """By parameter the function that reads it; it takes the name, for errors, and the value."""

Place = tuple[Any, ...]
"""Keys and indexes that lead from a parameter to a value inside it; () is the parameter itself."""

# Any other object in a DAG file is the output of another task.
_CONSTANTS = (str, bytes, int, float, Decimal, bool, date, timedelta, PurePath, type(None), Mapping, list, tuple)
_MARKS = ("{{", "{%", "{#")
_EMPTY_TEXTS = frozenset({"", "None"})


def has_marks(value: object) -> bool:
    """Return whether a text holds a Jinja template."""
    return isinstance(value, str) and any(mark in value for mark in _MARKS)


def is_template(value: object) -> bool:
    """Return whether a value is known only when the task runs: it holds a template or another task's output."""
    return any(_is_filled_later(part) or (place and is_template(place[-1])) for place, part in _walk(value))


def _walk(value: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Yield a value and, at any depth, what its dicts, lists and tuples hold, each with its place."""
    yield place, value
    parts: Iterable[tuple[Any, object]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, (list, tuple)):
        parts = enumerate(value)
    for step, part in parts:
        yield from _walk(part, (*place, step))


def _is_filled_later(part: object) -> bool:
    """Return whether Airflow replaces this part; of a set, whose items have no place, the whole set counts."""
    if isinstance(part, Set):
        return any(is_template(item) for item in part)
    return has_marks(part) or not isinstance(part, _CONSTANTS)


def constant(name: str, value: object, read: Callable[[str, Any], Any]) -> Any:
    """Return a parameter that is no template field, read.

    :raises ParameterError: for a template or another task's output, which Airflow would not replace
    """
    if is_template(value):
        raise ParameterError(f"{name} is not templated: give the value itself, not {_shortened(value)}.")
    return read(name, value)


class TemplatedOperator(BaseOperator):
    """An operator that checks its parameters when the DAG is parsed, and its templates when the task runs."""

    _filled_later: Mapping[str, tuple[Place, ...]] = {}
    """By parameter, the places that must hold a value when the task runs. Plain data, so that all copies have it."""

    def check_parameters(self, readers: Readers) -> None:
        """Check what is known when the DAG is parsed, so that a typing error shows at once; record what is not.

        :param readers: by template field the function that will read it when the task runs
        :raises ParameterError: for the first wrong value
        """
        with self.errors_of_making():
            for name, read in readers.items():
                value = getattr(self, name)
                _refuse_template_keys(name, value)
                if not is_template(value):
                    read(name, value)
        self._record_places(readers)

    def read_parameters(self, readers: Readers) -> dict[str, Any]:
        """Return the values of template fields when the task runs, each as its function reads it."""
        return {name: read(name, getattr(self, name)) for name, read in readers.items()}

    def errors_of_making(self) -> AbstractContextManager[None]:
        """Return the context in which ``__init__`` raises its errors.

        Airflow makes the operator of a mapped task when it runs: there they fail the task without retries.
        """
        # Airflow's own name; without it such an error is retried, as any other.
        if getattr(self, "_BaseOperator__from_mapped", False):
            return permanent_errors_fail_at_once()
        return nullcontext()

    def _record_places(self, names: Iterable[str]) -> None:
        found = dict(self._filled_later)
        for name in names:
            value = getattr(self, name)
            places = [*found.get(name, ()), *(place for place, part in _walk(value) if _is_filled_later(part))]
            if value is not None:
                # A DAG may choose other template marks than the usual, so any value that is given must remain.
                places.append(())
            found[name] = tuple(dict.fromkeys(places))
        self._filled_later = found  # a new mapping: copies of the operator share the old one

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render as Airflow does; before, record what was assigned after the operator was made."""
        self._record_places(self._filled_later)
        super().render_template_fields(context, jinja_env)

    def check_rendered(self, context: Context) -> None:
        """Refuse to run if a template or another task's output gave nothing. A None in the DAG file stays legal.

        :raises ParameterError: naming the first such parameter, and the place inside it
        """
        from_outputs = _mapped_over_outputs(self, context)
        for name, places in self._filled_later.items():
            for place in (*places, ()) if name in from_outputs else places:
                value = _find(getattr(self, name), place)
                if _is_nothing(value):
                    raise ParameterError(
                        f"{_shown_place(name, place)} is {_shortened(value)}: that is what its template, or the task "
                        "that it comes from, left of it. Was that task skipped, or is a key or a parameter missing? "
                        "Nothing was sent. Mend that, or leave the parameter out if none is meant."
                    )


def _refuse_template_keys(name: str, value: object) -> None:
    """Refuse a template as the key of a dict: Airflow renders values only, so the key would stay a template."""
    for place, _ in _walk(value):
        if place and is_template(place[-1]):
            raise ParameterError(
                f"{_shown_place(name, place[:-1])} has the template {place[-1]!r} as a key: Airflow renders values, "
                "and no keys. Write the key itself, or give the whole dict as one template that renders to its JSON "
                "(filter tojson)."
            )


def _find(value: Any, place: Place) -> Any:
    """Return what is at a place; if the value has another shape now, the value, which its reader judges."""
    for step in place:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return value
    return value


def _is_nothing(value: object) -> bool:
    """Return whether a rendered value is None, an empty text, Jinja's Undefined, or a template as it was."""
    from jinja2 import Undefined

    if isinstance(value, str):
        return value.strip() in _EMPTY_TEXTS or has_marks(value)
    if isinstance(value, Set):
        return any(map(_is_nothing, value))
    return value is None or isinstance(value, Undefined)


def _mapped_over_outputs(task: BaseOperator, context: Context) -> frozenset[str]:
    """Return the parameters that Airflow took from other tasks' outputs when it made this operator of a mapped one.

    Such an operator is made when the task runs, with values that do not show where they come from.
    """
    dag = task.get_dag()
    mapping: Any = getattr(dag and dag.task_dict.get(task.task_id), "expand_input", None)
    expanded = getattr(mapping, "value", None)
    if isinstance(expanded, Mapping):
        # expand(): a list or dict stands in the DAG file, all else comes from a task.
        return frozenset(name for name, values in expanded.items() if not isinstance(values, (Mapping, list, tuple)))
    if expanded is None:
        return frozenset()
    # expand_kwargs(): a list of dicts and outputs, or an output that is such a list.
    if isinstance(expanded, (list, tuple)) and isinstance(expanded[context["ti"].map_index or 0], Mapping):
        return frozenset()
    given, _ = mapping.resolve(context)
    return frozenset(given)


def _shown_place(name: str, place: Place) -> str:
    return name + "".join(f"[{step!r}]" for step in place)


def _shortened(value: object) -> str:
    return cut(repr(value), 80)
