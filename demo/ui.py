"""``make demo UI=1``: a real Airflow with the example DAGs, and the emulator, until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from demo.airflow_processes import HOST, KNOWN_WITHIN, AirflowProcesses
from demo.metadata import STATE
from demo.run import LABELED, LEDGER_SETTING
from demo.workflow import DAG_ID

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

PORT = 8080
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
        AirflowProcesses(Path(folder), port=free_or_any(PORT), settings=LEDGER_SETTING) as airflow,
    ):
        emulator.journal.keep_bodies = False  # nobody reads them here, and this may run for days
        dataset_id = emulator.load_digits(labeled=LABELED)
        airflow.add_connection("modelarts_default", emulator.connection)
        airflow.wait_until(lambda: airflow.knows_dag(DAG_ID), KNOWN_WITHIN, f"the DAG {DAG_ID} is unknown")
        print(_introduction(airflow, emulator, dataset_id), file=output, flush=True)
        try:
            while True:
                time.sleep(1)
                airflow.check_alive()
        except KeyboardInterrupt:
            print("\nStopping ...", file=output, flush=True)


def _introduction(airflow: AirflowProcesses, emulator: Emulator, dataset_id: str) -> str:
    return "\n".join(
        (
            "",
            f"  Airflow     {airflow.url}  (everybody is admin)",
            f"  DAG         {airflow.url}/dags/{DAG_ID}",
            f"  dataset_id  {dataset_id}  (a run of the DAG asks for it)",
            f"  emulator    {emulator.url}  (connection modelarts_default)",
            f"  logs        {airflow.home}",
            "",
            "Ctrl-C stops all of it.",
        )
    )


def free_or_any(port: int) -> int:
    """Return ``port`` if nobody listens there, else 0, which stands for any."""
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        return port
    return 0
