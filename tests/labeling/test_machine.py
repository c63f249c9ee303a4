"""The machine on a few histories, and wrong versions that it must catch; ``make soak SOAK=confirm`` runs many."""

from __future__ import annotations

import pytest

from tests.labeling.machine import COUNTS, run_machine
from tests.labeling.model import Violation
from tests.labeling.mutants import MUTANTS

HISTORIES = 40
QUICKLY_FOUND = ("ascending_walk", "labels_dropped", "put_resent_blindly", "window_lost", "plan_ignored_at_retry")


def test_no_label_is_lost_in_any_history() -> None:
    COUNTS.clear()
    run_machine(HISTORIES)
    assert COUNTS["finished"] >= HISTORIES
    assert {rule for rule in COUNTS if rule.startswith("rule: ")} == {
        *("rule: plan", "rule: apply", "rule: retry", "rule: freeze", "rule: thaw", "rule: two at once"),
        *("rule: people", "rule: undo"),
    }


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_wrong_versions_do_not_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, _ = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises(Violation):
        run_machine(200, shrinks=False)
