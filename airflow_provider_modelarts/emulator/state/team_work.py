"""What a team task and its dataset do to each other as time goes on (contract 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator.state.team import (
    ACTIONS,
    IN_ACCEPTANCE,
    PASSED,
    REJECTED,
    RUNNING,
    SAMPLING,
    STARTING,
    SYNCHRONIZING,
)

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.team import Copy, TeamTask


def settle(task: TeamTask, dataset: Dataset, seed: int) -> None:
    """End the passing status that is due."""
    due, task.due = task.due or 0.0, None
    if task.status == STARTING:
        task.status = RUNNING
    elif task.status == SAMPLING:
        follow(task, dataset)
        task.draw(seed)
        task.status = IN_ACCEPTANCE
    elif task.status == SYNCHRONIZING:
        follow(task, dataset)
        _finish(task, dataset, due)
    task.updated = due


def follow(task: TeamTask, dataset: Dataset) -> None:
    """Drop copies of samples that left the dataset; give out those that came, where that was asked for."""
    gone = [key for key in task.copies if key[0] not in dataset.samples]
    for key in gone:
        del task.copies[key]
    task.deleted += len(gone)
    if task.workers and task.options["synchronize_data"]:
        known = {sample_id for sample_id, _ in task.copies}
        fresh = [sample_id for sample_id in dataset.samples if sample_id not in known]
        task.distribute(sample_id for sample_id in fresh if task.wants is None or task.wants(sample_id))


def _finish(task: TeamTask, dataset: Dataset, now: float) -> None:
    """Pass results or send them back, as the action says; what passed reaches the dataset."""
    acceptance = task.acceptances[-1]
    passes = ACTIONS[acceptance.action or 0]
    waiting = [task.copies[key] for key in acceptance.candidates if key in task.copies]
    for copy in waiting:
        if task.phase(copy) != "uncheck":
            continue
        copy.accepted = passes[copy.check.accept if copy.check else None]
        copy.rejected = not copy.accepted
        is_free = not dataset.samples[copy.sample_id].labels
        if copy.accepted and task.options["auto_sync_dataset"] and (is_free or acceptance.overwrite):
            hand_over(dataset, copy, now)
    task.status = REJECTED if any(copy.rejected for copy in waiting) else PASSED


def hand_over(dataset: Dataset, copy: Copy, now: float) -> None:
    """Make the labels of an accepted copy those of the dataset's sample."""
    sample = dataset.samples[copy.sample_id]
    sample.metadata = (sample.metadata or {}) | (copy.metadata or {}) or None
    sample.usage = copy.usage if copy.usage is not None else sample.usage
    dataset.set_labels(sample, copy.labels, copy.author, now)


def conflicts(dataset: Dataset, copy: Copy) -> bool:
    """Whether the dataset's sample has labels already, and others than a copy."""
    sample = dataset.samples[copy.sample_id]
    return bool(sample.labels) and sample.labels != copy.labels
