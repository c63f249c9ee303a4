"""Runs a DAG or a single operator in this process and tells how it went: states, XComs, exceptions, log."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import logging
import re
import sys
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG, BaseOperator

APPROVER = "somebody"
BUNDLE = "dags-folder"
_numbers = itertools.count(1)


@dataclass
class TaskRun:
    """How one Airflow task ended."""

    state: str | None
    xcom: Any
    """What the task returned; None when it returned nothing."""
    xcoms: dict[str, Any]
    """Everything the task pushed, by key."""
    error: BaseException | None
    """What the last try raised, if it failed or is to be retried. A skip's reason stands in the log alone."""
    rendered: dict[str, Any]
    """The template fields as Airflow stored them for the UI."""
    try_number: int


@dataclass
class DagOutcome:
    """How a run of a DAG ended."""

    state: str
    run_id: str
    log: str
    """Everything that the run printed, task logs included, as a user would see it."""
    tasks: dict[str, TaskRun] = field(default_factory=dict)
    """By task id; a mapped task under ``task_id_0``, ``task_id_1`` ..."""


@contextlib.contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """Catch stdout and everything that is logged to a stream, as one text in the order it was written."""
    text = io.StringIO()
    moved = [
        (handler, handler.setStream(text))
        for handler in logging.getLogger().handlers
        if type(handler) is logging.StreamHandler
    ]
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            yield text
    finally:
        for handler, stream in moved:
            handler.setStream(stream or sys.stderr)


def run_dag(dag: DAG, *, conf: dict[str, Any] | None = None, approved: str | None = None) -> DagOutcome:
    """Run ``dag`` by ``dag.test()`` and report.

    :param dag: any DAG, also one built inside a test.
    :param conf: the run's configuration; overrides ``params``.
    :param approved: id of the task that asks a person, who says yes at once.
    """
    if approved is not None:
        dag.get_task(approved).execute = _approve  # type: ignore[method-assign]
    with captured_output() as output, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _store(dag)
        output.truncate(output.seek(0))  # of the run's own log only
        with _unchanged_params(dag), _listening() as errors:
            dag_run = dag.test(run_conf=conf)
    outcome = DagOutcome(state=str(dag_run.state), run_id=dag_run.run_id, log=output.getvalue())
    for instance in _task_instances(dag.dag_id, dag_run.run_id):
        name = instance.task_id if instance.map_index < 0 else f"{instance.task_id}_{instance.map_index}"
        outcome.tasks[name] = _task_run(instance, errors.get(name))
    return outcome


def _approve(context: Any) -> dict[str, Any]:
    """Return what an ``ApprovalOperator`` returns when somebody has approved."""
    return {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": {"id": "1", "name": APPROVER}}


def run_operator(operator: type[BaseOperator], *, dag_id: str | None = None, **parameters: Any) -> tuple[TaskRun, str]:
    """Run one operator as the only task of a DAG; return how it ended, and the log.

    :param operator: the class.
    :param dag_id: the DAG's name; by default one that no other test has.
    :param parameters: what the operator is given; ``task_id`` is ``task`` by default.
    """
    from airflow.sdk import DAG

    parameters.setdefault("task_id", "task")
    with DAG(dag_id or f"harness_{operator.__name__}_{next(_numbers)}", schedule=None) as dag:
        operator(**parameters)
    outcome = run_dag(dag)
    return outcome.tasks[parameters["task_id"]], outcome.log


@contextlib.contextmanager
def _unchanged_params(dag: DAG) -> Iterator[None]:
    """Put the params back: ``dag.test()`` writes a run's configuration into the DAG, where the next run finds it."""
    owners = [dag, *dag.tasks]
    before = [copy.deepcopy(owner.params) for owner in owners]
    try:
        yield
    finally:
        for owner, params in zip(owners, before, strict=True):
            owner.params = params


class _ErrorListener:
    """Notes what tasks raise, retries too: the outcome of a run holds no exceptions."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: object) -> None:
        index = task_instance.map_index
        name = task_instance.task_id if index is None or index < 0 else f"{task_instance.task_id}_{index}"
        if isinstance(error, BaseException):
            self.errors[name] = error


@contextlib.contextmanager
def _listening() -> Iterator[dict[str, BaseException]]:
    """Collect the errors of tasks by name."""
    listener, manager = _ErrorListener(), get_listener_manager()
    manager.add_listener(listener)
    try:
        yield listener.errors
    finally:
        manager.pm.unregister(listener)


def _store(dag: DAG) -> None:
    """Write the DAG where a DAG processor would have: ``dag.test()`` looks for its file, and a test's DAG has none."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name=BUNDLE))
        session.flush()
        known = session.get(DagModel, dag.dag_id)
        if known is not None and known.fileloc == dag.fileloc and known.bundle_name == BUNDLE:
            return
        lazy = LazyDeserializedDAG.from_dag(dag)
        SerializedDAG.bulk_write_to_db(BUNDLE, None, [lazy], session=session)
        session.flush()
        SerializedDagModel.write_dag(lazy, bundle_name=BUNDLE, session=session)


def _task_instances(dag_id: str, run_id: str) -> list[TaskInstance]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        instances = list(session.scalars(query.order_by(TaskInstance.task_id, TaskInstance.map_index)))
        session.expunge_all()
    return instances


def _task_run(instance: TaskInstance, error: BaseException | None) -> TaskRun:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.xcom import XComModel
    from airflow.sdk.serde import deserialize
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def of_instance(model: Any) -> Any:
        return (
            model.dag_id == instance.dag_id,
            model.task_id == instance.task_id,
            model.run_id == instance.run_id,
            model.map_index == instance.map_index,
        )

    with create_session() as session:
        rows = session.scalars(select(XComModel).where(*of_instance(XComModel)))
        xcoms = {row.key: deserialize(XComModel.deserialize_value(row)) for row in rows}
        fields = session.scalar(select(RenderedTaskInstanceFields).where(*of_instance(RenderedTaskInstanceFields)))
        rendered = dict(fields.rendered_fields) if fields is not None else {}
    return TaskRun(
        state=str(instance.state) if instance.state else None,
        xcom=xcoms.get("return_value"),
        xcoms=xcoms,
        error=error,
        rendered=rendered,
        try_number=instance.try_number,
    )


def messages(log: str, logger: str = "") -> list[str]:
    """Return the messages of a captured log, in order; with ``logger`` only those of loggers whose name holds it."""
    pattern = re.compile(r"^\S+ \[\w+\s*\] (?P<message>.*?)\s+\[(?P<logger>[^\]]*)\]")
    found = (pattern.match(line) for line in log.splitlines())
    return [match["message"] for match in found if match and logger in match["logger"]]
