"""``make demo UI=1``: a real Airflow with the example DAGs, and the emulator, until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from demo import metadata
from demo.airflow_processes import HOST, KNOWN_WITHIN, AirflowProcesses
from demo.environment import EXAMPLE_DAGS
from demo.metadata import STATE
from demo.run import LABELED, LEDGER_SETTING
from demo.workflow import DAG_ID

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

PORT = 8080
CONNECTION = "modelarts_default"
WATCHING_DAG_ID = "confirm_when_labeled"
TASK_SECONDS = 20.0


def serve(seed: int, output: TextIO) -> None:
    """Start everything, say where it is, and stop it when this process is interrupted.

    :param seed: draws the labeled images.
    :param output: where the addresses go.
    :raises AirflowProcessError: a part of Airflow did not start, or has ended.
    """
    from airflow_provider_modelarts.emulator import Emulator

    STATE.mkdir(exist_ok=True)
    print("Starting Airflow and the emulator; this takes about a quarter of a minute ...", file=output, flush=True)
    with (
        tempfile.TemporaryDirectory(dir=STATE, prefix="ui-", ignore_cleanup_errors=True) as folder,
        Emulator(seed=seed, task_seconds=TASK_SECONDS) as emulator,
    ):
        emulator.journal.keep_bodies = False  # nobody reads them here, and this may run for days
        dataset_id = emulator.load_digits(labeled=LABELED)
        settings = {
            **LEDGER_SETTING,
            "MODELARTS_DATASET_ID": dataset_id,
            "MODELARTS_WATCHED_DATASET": dataset_id,
        }
        airflow = AirflowProcesses(Path(folder), port=free_or_any(PORT), settings=settings)
        # Before anything runs: the watcher looks for its connection as soon as the triggerer is there.
        metadata.copy_to(airflow.home)
        metadata.add_connection(airflow.home, airflow.environ, CONNECTION, emulator.connection_with_console)
        with airflow:
            for dag_id in (file.stem for file in EXAMPLE_DAGS.glob("[!_]*.py")):
                airflow.wait_until(
                    functools.partial(airflow.knows_dag, dag_id), KNOWN_WITHIN, f"the DAG {dag_id} is unknown"
                )
            airflow.pause_dag(WATCHING_DAG_ID)
            print(_introduction(airflow, emulator, dataset_id), file=output, flush=True)
            try:
                while True:
                    time.sleep(1)
                    airflow.check_alive()
            except KeyboardInterrupt:
                print("\nStopping ...", file=output, flush=True)


def _introduction(airflow: AirflowProcesses, emulator: Emulator, dataset_id: str) -> str:
    dags = f"{airflow.url}/dags"
    return f"""
  Airflow     {airflow.url}  (everybody is admin)
  dataset     {emulator.page_of(dataset_id)}
  dataset_id  {dataset_id}  (filled into the DAGs)
  emulator    {emulator.url}  (connection {CONNECTION})
  records     {STATE}  (plans/ and ledger/; they stay)
  logs        {airflow.home}

What to try; trigger a DAG with the button at the top right of its page:

  1  {dags}/{DAG_ID}
     labels the digits by machine, and confirms what the machine is sure of
  2  {dags}/confirm_with_approval
     with min_score 0.5: plans what of the rest becomes final, and asks you at
     {airflow.url}/required_actions
     There open "approve" and its tab "Review labels": each sample with its picture. Reject some by a click or with
     the keys j, k and x, then approve
  3  {dags}/revert_confirmation
     takes one of these runs back: give it the run's id, and answer as in 2
  4  {dags}/confirm_by_label
     after another labeling task: the same work, shared among mapped tasks
  5  {dags}/{WATCHING_DAG_ID}
     runs whenever a labeling task has ended. It is switched off, since it would confirm beside you. Switch it on
     and start 1 with min_score 1, which leaves nearly everything to it; it looks every half a minute
  6  {dags}/nightly_pipeline
     the whole night, with a team: look at its graph. It is switched off, for nobody plays the team here
  7  {dags}/export_labels
     writes the final labels to {STATE}/exports, to train with and for people
  8  {dags}/confirm_with_evidence
     confirms what a team's answers prove. Like 6 it needs a team: look at its graph
  9  {dags}/train_on_new_version
     runs whenever a version is published, as 6 does: look at the asset that it waits for

The tab "Details" of a task links to the dataset's page ("ModelArts console").

Ctrl-C stops all of it."""


def free_or_any(port: int) -> int:
    """Return ``port`` if nobody listens there, else 0, which stands for any."""
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        return port
    return 0
