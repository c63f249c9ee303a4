"""The journal and its observers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Record
    from tests.emulator.conftest import Caller


def test_the_journal_records_and_keeps_secrets_out_of_its_repr(digits: Caller) -> None:
    observed: list[Record] = []
    digits.emulator.observers.append(observed.append)
    task_id = digits.start()
    digits.get(f"/tasks/{task_id}")
    journal = digits.emulator.journal
    assert observed == list(journal)
    assert [(record.method, record.status) for record in journal] == [("POST", 200), ("GET", 200)]
    assert journal.count("POST", "/tasks") == 1
    assert journal.count("GET") == 1
    assert journal.count() == len(journal) == 2
    assert json.loads(journal[0].body) == {"task_type": "auto-label"}
    assert json.loads(journal[-1].response)["task_id"] == task_id
    assert journal[0].headers["x-auth-token"] in digits.emulator.tokens
    assert not any(secret in repr(list(journal)) for secret in digits.emulator.secrets)
    journal.clear()
    assert list(journal) == []
