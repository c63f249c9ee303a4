"""Wrong versions of confirming that the tests must catch; each is a small change that looks harmless."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.resources.proposals import Proposals
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply import batch_writer as write
from airflow_provider_modelarts.labeling.apply import confirmation as apply
from airflow_provider_modelarts.labeling.apply.batch_writer import BatchWriter
from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
from airflow_provider_modelarts.labeling.ledger.reader import LedgerState
from airflow_provider_modelarts.labeling.ledger.reconcile import Reconciler
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter
from airflow_provider_modelarts.labeling.proposals import page_order as walk
from airflow_provider_modelarts.labeling.proposals.filtered import FilteredProposals
from airflow_provider_modelarts.labeling.proposals.page_scheduler import PageScheduler
from airflow_provider_modelarts.labeling.sample_table import AS_PLANNED, ConfirmationStatus, SampleTable
from tests.labeling.scenarios import calm, disturbed, killed, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def ascending_walk(patch: pytest.MonkeyPatch) -> None:
    """Pages are written from the first to the last, so that each write moves the next page under the reader."""

    steps = PageScheduler.steps

    def ascend(descent: PageScheduler, last: Any = None, jobs: Any = ()) -> Iterator[None]:
        if last is not None:
            top = last.number
            read, deal_with = descent._read, descent._deal_with
            descent._read = lambda number: read(top - number)
            descent._deal_with = lambda numbered: deal_with(numbered._replace(number=top - numbered.number))
            last = walk.Numbered(top, read(0))
        return steps(descent, last, jobs)

    patch.setattr(PageScheduler, "steps", ascend)


def offset_counts_pages(patch: pytest.MonkeyPatch) -> None:
    """What ``offset`` counts is assumed, not found out."""
    patch.setattr(walk, "detect_offset_step", lambda *_: 1)


def one_walk_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(walk, "count_unaccounted", lambda *_, **__: 0)


def positions_trusted(patch: pytest.MonkeyPatch) -> None:
    """After ``success: false`` the results are believed to stand in the order of the request."""

    def doubtful(writer: BatchWriter, batch: Any, replies: dict[str, Any]) -> Any:
        return [
            WriteOutcome([one], ConfirmationStatus.CONFIRMED)
            if replies[one.sample_id].ok
            else WriteOutcome([one], ConfirmationStatus.FAILED, replies[one.sample_id].error_code or "unknown")
            for one in batch.candidates
        ], []

    patch.setattr(BatchWriter, "_resolve_partial", doubtful)


def put_resent_blindly(patch: pytest.MonkeyPatch) -> None:
    """A write whose answer was lost is sent again without a look at its samples."""
    confirm = Proposals.confirm

    def resend(*args: Any, **more: Any) -> Any:
        outcomes = confirm(*args, **more)
        return confirm(*args, **more) if any(outcome.ok is None for outcome in outcomes) else outcomes

    patch.setattr(Proposals, "confirm", resend)


def _sent_otherwise(patch: pytest.MonkeyPatch, change: Callable[[Sample], dict[str, Any]]) -> None:
    confirm = Proposals.confirm

    def changed(client: Proposals, dataset_id: str, rows: Any, **more: Any) -> Any:
        return confirm(client, dataset_id, [row_of(Sample(change(row.sample))) for row in rows], **more)

    patch.setattr(Proposals, "confirm", changed)


def labels_dropped(patch: pytest.MonkeyPatch) -> None:
    """Only the first label of a sample goes back: the others are erased."""
    _sent_otherwise(patch, lambda sample: {**sample.element(), "labels": sample.element()["labels"][:1]})


def label_keys_dropped(patch: pytest.MonkeyPatch) -> None:
    """Labels go back by name alone, without what else came with them."""
    _sent_otherwise(
        patch,
        lambda sample: {"sample_id": sample.sample_id, "labels": [{"name": label.name} for label in sample.labels]},
    )


def old_reads_written(patch: pytest.MonkeyPatch) -> None:
    """Labels are written however long ago they were read."""
    patch.setattr(write, "FRESH_SECONDS", 1e9)


def no_look_after_a_token_was_fetched(patch: pytest.MonkeyPatch) -> None:
    """What was fresh before the request was authorized counts as fresh when it goes out."""
    patch.setattr(BatchWriter, "_check_again", lambda writer, batch: None)


def guard_forgotten_at_the_write(patch: pytest.MonkeyPatch) -> None:
    """What appeared after the guard was held is confirmed as well."""
    patch.setattr(SampleTable, "decide_as_planned", lambda table, rows: [AS_PLANNED] * len(rows))


def filtered_list_trusted(patch: pytest.MonkeyPatch) -> None:
    """Labels of a filtered list are written as they are, trimmed or not."""
    patch.setattr(FilteredProposals, "begin", lambda untrimmed, read_pages: None)
    patch.setattr(FilteredProposals, "lists_whole_samples", True)


def written_before_the_pages_above_are_answered(patch: pytest.MonkeyPatch) -> None:
    """Each page is dealt with as soon as it arrives."""

    def answer(descent: PageScheduler, number: int, page: Any) -> Any:
        descent._follow(descent._deal_with(walk.Numbered(number, page)), last=True)
        return ()

    patch.setattr(PageScheduler, "_answer", answer)


def entries_lost(patch: pytest.MonkeyPatch) -> None:
    """Every second entry of the ledger is forgotten."""
    add, numbers = LedgerWriter.add_lines, count()

    def forget(writer: LedgerWriter, lines: list[bytes]) -> None:
        add(writer, [line for line in lines if next(numbers) % 2])

    patch.setattr(LedgerWriter, "add_lines", forget)


def plan_ignored_at_retry(patch: pytest.MonkeyPatch) -> None:
    """A retry decides once more about what is left, and stores that as the plan."""
    patch.setattr(apply, "_found", lambda plan: None)
    plan_of_a_slower_try_replaces_the_first(patch)


def plan_of_a_slower_try_replaces_the_first(patch: pytest.MonkeyPatch) -> None:
    """Of two tries that find no plan the second to be ready stores its own in the place of the other's."""
    make_plan = apply.make_plan
    patch.setattr(apply, "make_plan", lambda *args, **more: make_plan(*args, **{**more, "keep": None}))


def own_plan_applied_by_a_slower_try(patch: pytest.MonkeyPatch) -> None:
    """Of two tries that find no plan each applies its own, and only one of them is stored."""
    made = PlanWriter.plan

    def plan(writer: PlanWriter) -> Any:
        writer._stored_first = None
        return made(writer)

    patch.setattr(PlanWriter, "plan", plan)


def unsettled_window_taken_for_others_work(patch: pytest.MonkeyPatch) -> None:
    """What a killed try wrote and did not record counts as somebody else's."""
    patch.setattr(LedgerState, "may_be_written", lambda *_: False)


def unlisted_samples_not_settled(patch: pytest.MonkeyPatch) -> None:
    """What is planned and not listed any more is not looked up."""
    patch.setattr(Reconciler, "unlisted", lambda reconciler, table: iter(()))


Mutant = Callable[["pytest.MonkeyPatch"], None]

# Each wrong version, and the scenario that shows it within a few histories.
MUTANTS: dict[str, tuple[Mutant, Callable[..., None]]] = {
    mutant.__name__: (mutant, scenario)
    for mutant, scenario in (
        (ascending_walk, calm),
        (offset_counts_pages, calm),
        (
            one_walk_is_enough,
            partial(disturbed, "propose first", "propose last", "confirm by hand", keeps="nothing", policy=None),
        ),
        (positions_trusted, partial(disturbed, "reset", bad=0.2, variants={"results": "shuffled"})),
        (put_resent_blindly, partial(disturbed, "reset_after")),
        (labels_dropped, calm),
        (label_keys_dropped, calm),
        (old_reads_written, partial(disturbed, "busy", "time passes")),
        (no_look_after_a_token_was_fetched, partial(disturbed, "revoke", "expired_token")),
        (
            guard_forgotten_at_the_write,
            partial(
                disturbed,
                "propose first",
                "propose otherwise",
                keeps="nothing",
                policy={"min_score": 0.7, "max_samples": 99},
            ),
        ),
        (filtered_list_trusted, partial(calm, label_name="rose", variants={"trim_labels_to_filter": True})),
        (written_before_the_pages_above_are_answered, partial(calm, concurrency=8, latency=8.0)),
        (entries_lost, killed),
        (plan_ignored_at_retry, killed),
        (plan_of_a_slower_try_replaces_the_first, together),
        (own_plan_applied_by_a_slower_try, together),
        (unsettled_window_taken_for_others_work, killed),
        (unlisted_samples_not_settled, killed),
    )
}
