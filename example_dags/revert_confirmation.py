"""Take back what one run has confirmed: see first what that would do, have a person decide, then write.

The ledger says what the run has written, and which labels people had given before; they come back. What somebody has
changed since is left alone. Where several DAGs share a ledger and have runs of the same id, give both tasks
``ledger_dag_id`` as well.
"""

from __future__ import annotations

import os

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from airflow_provider_modelarts.operators.samples import ModelArtsRevertConfirmationOperator

LEDGER_URI = "{{ params.ledger_uri }}"
RUN_ID = "{{ params.run_id }}"

with DAG(
    dag_id="revert_confirmation",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        # An environment variable of the process that reads this file, no Airflow Variable.
        "ledger_uri": Param(
            os.environ.get("MODELARTS_LEDGER_URI", "file:///tmp/modelarts/ledger"),
            type="string",
            description="The folder that the confirming task was given as ledger_uri",
        ),
        "run_id": Param("", type="string", description="Id of the DAG run whose confirmation is taken back"),
    },
):
    preview = ModelArtsRevertConfirmationOperator(
        task_id="preview",
        ledger_uri=LEDGER_URI,
        ledger_run_id=RUN_ID,
        preview=True,  # count, but write nothing
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Take these labels back?",
        body="{{ ti.xcom_pull(task_ids='preview', key='summary') }}",
    )
    revert = ModelArtsRevertConfirmationOperator(
        task_id="revert",
        ledger_uri=LEDGER_URI,
        ledger_run_id=RUN_ID,
    )

    preview >> approve >> revert
