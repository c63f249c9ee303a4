"""A process that runs a confirming task, to be killed. ``python -m tests.operators.confirm_process`` reads JSON."""

from __future__ import annotations

from tests.support import environment

environment.prepare()

import json  # noqa: E402  # everything below imports airflow
import os  # noqa: E402
import sys  # noqa: E402
from datetime import datetime  # noqa: E402

import s3fs  # noqa: E402, F401  # so that it is loaded before the work comes
from airflow.providers.amazon.aws.fs import s3  # noqa: E402, F401

from airflow_provider_modelarts.labeling.apply import confirmation as apply  # noqa: E402, F401
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator  # noqa: E402
from tests.support.operator_driver import StandInTaskInstance, as_task_runner, context_of  # noqa: E402


def main() -> None:
    """Confirm as the first try of a task."""
    given = json.loads(sys.stdin.readline())
    os.environ.update(given["environment"])
    started = datetime.fromisoformat(given["run_started"])
    operator = ModelArtsConfirmSamplesOperator(task_id="confirm", **given["parameters"])
    ti = StandInTaskInstance(
        start_date=started, run_id=given["run_id"], task_id="confirm", try_number=1, max_tries=given["max_tries"]
    )
    as_task_runner(operator, context_of(ti, run_started=started))


if __name__ == "__main__":
    main()
