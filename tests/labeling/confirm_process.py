"""A process that confirms, to be killed; plan and ledger are files. ``python -m tests.labeling.confirm_process``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity


def main() -> None:
    """Confirm everything, print the counts."""
    given = json.load(sys.stdin)
    identity = RunIdentity("flowers", "run", "confirm", try_number=given["try_number"])
    with ModelArtsClient(given["url"], PasswordCredentials(given["url"], **given["credentials"])) as client:
        result = confirm(
            client,
            given["dataset_id"],
            policy=given["policy"],
            concurrency=given["concurrency"],
            ledger=LedgerTarget(Path(given["ledger"]), identity),
        )
    print(json.dumps(result.to_xcom()))


if __name__ == "__main__":
    main()
