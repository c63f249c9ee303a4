"""Digits, a real classifier, and people who know the truth: what is confirmed reaches the target, seed after seed.

``NIGHTS=20 pytest tests/labeling/test_evidence_digits.py -s`` runs more of them than every test run can wait for, and
prints them.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.apply.confirmation import confirm
from airflow_provider_modelarts.labeling.evidence.answers import answers_in_dataset
from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.evidence.evidence_file import EvidenceHeader, gathered, store_evidence
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.narrowing import narrow_plan

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

NIGHTS = int(os.environ.get("NIGHTS", "4"))
TARGET, CONFIDENCE, AUDIT_SIZE = 0.9, 0.95, 70


def night(
    emulator: Emulator, client: ModelArtsClient, clock: MovedClock, folder: Path, seed: int
) -> tuple[Counter[str], Counter[str], int]:
    """Return how many samples of each label were accepted, how many of them were wrong, and how many were confirmed."""
    # The draw of the labeled images, by which the classifier learns, depends on the dataset's id.
    dataset_id = emulator.load_digits(labeled=100)
    client.tasks.start(dataset_id)
    clock.sleep(emulator.task_seconds + 1)
    policy = {"target_precision": TARGET, "confidence": CONFIDENCE, "audit_size": AUDIT_SIZE, "seed": f"night-{seed}"}
    plan = make_plan(client, dataset_id, folder / f"{seed}.jsonl", policy=policy, clock=clock).plan
    audited, truth = AuditedPlan(plan), emulator.truth(dataset_id)
    for sample_id in audited.rows:
        emulator.dataset(dataset_id).edit(sample_id, truth[sample_id])
    answers = answers_in_dataset(client, audited, 0.5, clock)
    header = EvidenceHeader(dataset_id, plan.uri, plan.digest, TARGET, CONFIDENCE, 0.5, "dataset")
    evidence = store_evidence(folder / f"{seed}.evidence.jsonl", plan, gathered(audited, header, answers))
    narrowed = narrow_plan(plan, folder / f"{seed}.narrowed.jsonl", [evidence])
    confirmed = confirm(client, dataset_id, plan=narrowed, clock=clock).confirmed
    accepted: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row, decision in plan.samples():
        (label,) = row.label_names
        threshold = evidence.min_score_by_label.get(label)
        score = row.plain_labels()[0].score
        if decision.rule in ("passed", "audit_sample") and threshold is not None and float(score) >= threshold:
            accepted[label] += 1
            wrong[label] += truth[row.sample_id] != label
    return accepted, wrong, confirmed


def test_confirmed_digits_reach_the_target(
    emulator: Emulator, client: ModelArtsClient, moved_clock: MovedClock, tmp_path: Path
) -> None:
    total = 0
    for seed in range(NIGHTS):
        accepted, wrong, confirmed = night(emulator, client, moved_clock, tmp_path, seed)
        found, faults = sum(accepted.values()), sum(wrong.values())
        print(f"night {seed}: {len(accepted)} labels proven, {found} proposals, {faults} wrong; {confirmed} confirmed")
        assert all(wrong[label] <= (1 - TARGET) * accepted[label] for label in accepted), (seed, accepted, wrong)
        total += confirmed
    assert total > 100 * NIGHTS
