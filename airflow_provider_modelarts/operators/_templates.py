"""Which parameters were templates or outputs of other tasks in the DAG file, and what became of them.

Airflow replaces such a value when the task runs. A task that was skipped, or a key that is missing, leaves None there,
and None is also how an author says "no policy", "no filter", "no ledger". So an operator remembers at which places of
its parameters somebody else's value was to come, and refuses to run if nothing came.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Context

Place = tuple[Any, ...]
"""Keys and indexes that lead from a parameter to a value inside it; () is the parameter itself."""

_CONSTANTS = (str, bytes, int, float, Decimal, bool, date, timedelta, PurePath, type(None))
_MARKS = ("{{", "{%", "{#")
_NOTHING = frozenset({"", "None"})


def has_marks(value: object) -> bool:
    """Return whether a text holds a Jinja template."""
    return isinstance(value, str) and any(mark in value for mark in _MARKS)


def _template_places(value: object, place: Place = ()) -> Iterator[Place]:
    """Yield where a value holds a template or another task's output; of a set, whose items have no place, its own."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _template_places(part, (*place, key))
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _template_places(part, (*place, number))
    elif isinstance(value, Set):
        if any(is_template(part) for part in value):
            yield place
    elif has_marks(value) or not isinstance(value, _CONSTANTS):
        yield place


def is_template(value: object) -> bool:
    """Return whether a value is known only when the task runs: it holds a template, or comes from another task."""
    return next(_template_places(value), None) is not None or next(_template_keys(value), None) is not None


def _template_keys(value: object, place: Place = ()) -> Iterator[Place]:
    """Yield the keys of dicts, at any depth, that are templates or other tasks' outputs."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if is_template(key):
                yield (*place, key)
            yield from _template_keys(part, (*place, key))
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _template_keys(part, (*place, number))


def refuse_template_keys(name: str, value: object) -> None:
    """Refuse a template as the key of a dict: Airflow renders values only, and what the key stands for gets lost.

    :raises ParameterError: naming the first such key
    """
    found = next(_template_keys(value), None)
    if found is not None:
        raise ParameterError(
            f"{_shown_place(name, found[:-1])} has the template {found[-1]!r} as a key: Airflow renders values, and no "
            "keys. Write the key itself, or give the whole dict as one template that renders to its JSON (filter "
            "tojson)."
        )


def check_constants(checks: Mapping[str, tuple[object, Callable[[str, Any], object]]]) -> None:
    """Check what is known already when the DAG is parsed, so that a typing error shows at once.

    :param checks: by parameter name the value and the function that will read it when the task runs
    :raises ParameterError: for the first value that is wrong
    """
    for name, (value, read) in checks.items():
        if not is_template(value):
            read(name, value)


def constant(name: str, value: object, read: Callable[[str, Any], Any]) -> Any:
    """Return a parameter that is no template field, read.

    :raises ParameterError: for a template or another task's output, which Airflow would not replace
    """
    if is_template(value):
        raise ParameterError(f"{name} is not templated: give the value itself, not {_cut(repr(value))}.")
    return read(name, value)


class TemplatedOperator(BaseOperator):
    """An operator that checks its parameters when the DAG is parsed, and that all templates came to something.

    Copies of an operator, by Airflow or by pickle, remember the same: what is kept is plain data on the operator.
    """

    _templates: Mapping[str, tuple[Place, ...]] = {}
    """By parameter, where templates and outputs of other tasks were, and () if it was given at all."""

    def check_parameters(self, readers: Mapping[str, Callable[[str, Any], Any]]) -> None:
        """Check what is known already when the DAG is parsed, and remember what is not.

        :param readers: by template field the function that will read it when the task runs
        :raises ParameterError: for the first value that is wrong
        """
        with self.errors_of_making():
            for name in readers:
                refuse_template_keys(name, getattr(self, name))
            check_constants({name: (getattr(self, name), read) for name, read in readers.items()})
        self._remember_templates(readers)

    def errors_of_making(self) -> AbstractContextManager[None]:
        """Return what errors of ``__init__`` pass through.

        Airflow makes the operator of a mapped task when that runs: then they fail the task at once, as in ``execute``.
        """
        # Airflow's own name for it; without it such an error is retried, as any other.
        if getattr(self, "_BaseOperator__from_mapped", False):
            return permanent_errors_fail_at_once()
        return nullcontext()

    def _remember_templates(self, names: Mapping[str, Any]) -> None:
        # Any value that is there must still be there: a DAG may choose other marks for its templates.
        here = {
            name: (*_template_places(value), *([()] if value is not None else []))
            for name in names
            for value in [getattr(self, name)]
        }
        # Another mapping, not this one changed: copies share it.
        self._templates = {
            **self._templates,
            **{name: tuple(dict.fromkeys((*self._templates.get(name, ()), *places))) for name, places in here.items()},
        }

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render as Airflow does; what was assigned after the operator was made is remembered before.

        :param context: Airflow's
        :param jinja_env: Airflow's
        """
        self._remember_templates(self._templates)
        super().render_template_fields(context, jinja_env)

    def check_rendered(self, context: Context) -> None:
        """Refuse to run if a template or another task's output left nothing.

        None that was written in the DAG file stays what it was.

        :param context: Airflow's
        :raises ParameterError: naming the first such parameter, and the place inside it
        """
        mapped = _mapped_over_outputs(self, context)
        for name, places in self._templates.items():
            for place in (*places, ()) if name in mapped else places:
                value = _find(getattr(self, name), place)
                if _is_nothing(value):
                    raise ParameterError(
                        f"{_shown_place(name, place)} is {_cut(repr(value))}: that is what its template, or the task "
                        "that it comes from, left of it. Was that task skipped, or is a key or a parameter missing? "
                        "Nothing was sent. Mend that, or leave the parameter out if none is meant."
                    )


def _find(value: Any, place: Place) -> Any:
    """Return what is at a place; if the value has another shape by now, the value, which its reader judges."""
    for step in place:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return value
    return value


def _is_nothing(value: object) -> bool:
    """Return whether a rendered value says nothing: None, no text, Jinja's Undefined, or a template as it was."""
    from jinja2 import Undefined

    if isinstance(value, str):
        return value.strip() in _NOTHING or has_marks(value)
    if isinstance(value, Set):
        return any(map(_is_nothing, value))
    return value is None or isinstance(value, Undefined)


def _mapped_over_outputs(task: BaseOperator, context: Context) -> frozenset[str]:
    """Return which parameters Airflow took from other tasks' outputs when it made this operator of a mapped one.

    Such an operator is made when the task runs, and gets values of which nothing tells where they come from.
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


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
