"""How soon work begins: importing a DAG file, the first write of a confirmation, and the demo.

``python -m tests.benchmarks start``; RUNS=3 makes it shorter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.bare_server import PROJECT, TOKEN, BareServer
from tests.benchmarks.confirm import DATASET

DAG_FILE = Path(__file__).parents[2] / "example_dags" / "confirm_with_approval.py"
AIMS = "aims: a DAG file takes 40 ms more than airflow.sdk, the demo 12 s"


def import_seconds(more: str) -> float:
    """Return the CPU seconds that something takes in a fresh process that has imported the SDK."""
    code = f"import time; import airflow.sdk; begun = time.process_time(); {more}; print(time.process_time() - begun)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def first_write(server: BareServer, number: int, *, ledger: bool) -> float:
    """Return the seconds from the call until the first write is handed to the client."""
    from airflow_provider_modelarts.client import ModelArtsClient, TokenCredentials
    from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity

    server.reset(number, "end", 0.0)
    writes: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelArtsClient(f"http://127.0.0.1:{server.port}", TokenCredentials(TOKEN, PROJECT)) as client,
    ):
        write = client.proposals.confirm

        def noted(*args: object, **options: object) -> object:
            writes.append(time.perf_counter())
            return write(*args, **options)  # type: ignore[arg-type]

        client.proposals.confirm = noted  # type: ignore[method-assign,assignment]
        place = LedgerTarget(Path(folder), RunIdentity("dag", "run", "task")) if ledger else None
        begun = time.perf_counter()
        result = confirm(client, DATASET, ledger=place, concurrency=16)
        assert result.confirmed == number, result
    return writes[0] - begun


def main() -> None:
    """Measure and print."""
    runs = int(os.environ.get("RUNS", "7"))
    dag_file = f"import runpy; runpy.run_path({str(DAG_FILE)!r})"
    import_seconds(dag_file)  # compiles
    times = [import_seconds(dag_file) for _ in range(runs)]
    print(f"{'':<44}{'min':>10}{'median':>10}")
    print(f"{'a DAG file over airflow.sdk, CPU':<44}{min(times) * 1000:>7.0f} ms{median(times) * 1000:>7.0f} ms")
    with BareServer() as server:
        for number in (1_000, 200_000):
            for ledger in (False, True):
                times = [first_write(server, number, ledger=ledger) for _ in range(3)]
                name = f"first write of {number:,} proposals, ledger {'on' if ledger else 'off'}"
                print(f"{name:<44}{min(times) * 1000:>7.0f} ms{median(times) * 1000:>7.0f} ms")
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "demo"], capture_output=True, check=True)
    print(f"{'python -m demo':<44}{time.perf_counter() - begun:>8.1f} s")
    print(AIMS)


if __name__ == "__main__":
    main()
