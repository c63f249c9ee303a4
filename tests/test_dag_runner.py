"""The harness tells how a task really ended: a wrong outcome here would make every Airflow test mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from demo.environment import REPOSITORY
from tests.conftest import FIRST
from tests.support.dag_runner import messages, run_dag, run_operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("airflow_db")


class Story(BaseOperator):
    """Logs its text, pushes it, and then ends as it was told."""

    template_fields = ("text",)

    def __init__(self, text: str, error: type[Exception] | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.text = text
        self.error = error

    def execute(self, context: Any) -> dict[str, Any]:
        self.log.info("told %s", self.text)
        context["ti"].xcom_push(key="aside", value=[1, 1.0])
        if self.error is not None:
            raise self.error(self.text)
        return {"text": self.text}


class At(BaseTrigger):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "tests.test_dag_runner.At", {"number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.log.info("trigger ran")
        yield TriggerEvent({"number": self.number})


class Deferring(BaseOperator):
    def execute(self, context: Any) -> None:
        self.defer(trigger=At(3), method_name="resume")

    def resume(self, context: Any, event: dict[str, int]) -> int:
        return event["number"] + 1


def test_success_brings_xcoms_rendered_fields_and_log() -> None:
    run, log = run_operator(Story, text="{{ 40 + 2 }}")
    assert run.state == "success"
    assert run.xcom == {"text": "42"}
    assert repr(run.xcoms["aside"]) == "[1, 1.0]"
    assert run.rendered == {"text": "42"}
    assert run.error is None
    assert run.try_number == 1
    assert messages(log, "Story") == ["told 42"]


@pytest.mark.parametrize(("error", "retries"), [(ValueError, 0), (AirflowFailException, 3)])
def test_an_error_is_kept_with_the_state_it_led_to(error: type[Exception], retries: int) -> None:
    run, _ = run_operator(Story, text="broken", error=error, retries=retries)
    assert run.state == "failed"
    assert type(run.error) is error
    assert str(run.error) == "broken"
    assert run.try_number == 1
    assert "aside" in run.xcoms
    assert "return_value" not in run.xcoms


def test_a_skip_is_a_state_with_its_reason_in_the_log() -> None:
    run, log = run_operator(Story, text="not today", error=AirflowSkipException)
    assert run.state == "skipped"
    assert run.error is None
    assert "not today" in log.partition("Skipping task.")[2]


def test_a_deferred_task_runs_its_trigger_and_resumes() -> None:
    run, log = run_operator(Deferring)
    assert (run.state, run.xcom) == ("success", 4)
    assert messages(log, "At") == ["trigger ran"]


def test_a_dag_with_mapped_tasks_reports_each_of_them() -> None:
    with DAG("harness_mapped", schedule=None) as dag:
        Story.partial(task_id="each").expand(text=["a", "b"]) >> Story(task_id="bad", text="x", error=ValueError)
    outcome = run_dag(dag)
    assert outcome.state == "failed"
    assert {name: task.state for name, task in outcome.tasks.items()} == {
        "each_0": "success",
        "each_1": "success",
        "bad": "failed",
    }
    assert outcome.tasks["each_1"].xcom == {"text": "b"}
    assert isinstance(outcome.tasks["bad"].error, ValueError)


def test_a_run_takes_the_configuration_it_is_given() -> None:
    with DAG("harness_params", schedule=None, params={"n": 1}) as dag:
        Story(task_id="only", text="{{ params.n }}")
    assert run_dag(dag, conf={"n": 2}).tasks["only"].xcom == {"text": "2"}
    assert run_dag(dag).tasks["only"].xcom == {"text": "1"}


def test_the_files_that_are_to_come_first_are_there() -> None:
    assert [file for file in FIRST if not (REPOSITORY / file).is_file()] == []
