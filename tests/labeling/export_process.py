"""A process that exports one dataset and says how much memory that took: ``python -m tests.labeling.export_process``.

It is asked by one line of JSON, and answers with another.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.labeling.export.exporter import ExportRequest, LabelExport
from airflow_provider_modelarts.labeling.ledger.reader import read_ledgers


def peak_megabytes() -> float:
    """Return the most memory that this process has had; ``getrusage`` would count that of the process it came from."""
    (line,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(line) / 1024


def main(asked: dict[str, Any]) -> dict[str, Any]:
    credentials = PasswordCredentials(**asked["credentials"])
    with ModelArtsClient(asked["url"], credentials) as client:
        client.datasets.get(asked["dataset_id"])
        ledgers = [] if asked["ledger"] is None else list(read_ledgers(Path(asked["ledger"])))
        request = ExportRequest(asked["dataset_id"], Path(asked["path"]), asked["format"], ledgers=ledgers)
        before = peak_megabytes()
        result = LabelExport(client, request).run()
    return {"megabytes": peak_megabytes() - before, "seconds": result.seconds, "samples": result.samples}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.readline()))))
