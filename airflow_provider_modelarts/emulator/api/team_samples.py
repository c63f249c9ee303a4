"""The members' copies of samples in a team task, as they are listed and labeled (contract 3.3, 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import (
    author_of,
    check_update,
    keep_beside_labels,
    labels_to_write,
    reply_to_batch,
)
from airflow_provider_modelarts.emulator.api.samples import processed
from airflow_provider_modelarts.emulator.api.teams import find
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import read_filter, read_state
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import check_locale
from airflow_provider_modelarts.emulator.state import team
from airflow_provider_modelarts.emulator.state.documents import sample_document
from airflow_provider_modelarts.emulator.state.hard_reasons import explained
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy, TeamTask


def document(store: Store, dataset: Dataset, task: TeamTask, copy: Copy) -> dict[str, Any]:
    """Return one member's copy as it is served (contract 3.3, "Team labeling")."""
    body = sample_document(dataset, dataset.samples[copy.sample_id], store.presigner, store.clock.now())
    body["metadata"] |= copy.metadata or {}
    if copy.usage is not None:
        body["sample_usage"] = copy.usage
    is_proposed = task.phase(copy) == "auto_annotation"
    labeler = {"email": task.email_of(copy.worker_id), "worker_id": copy.worker_id, "role": team.LABELER}
    return {
        **body,
        "labels": task.proposed[copy.sample_id] if is_proposed else copy.labels,
        "sample_status": "MANUAL_ANNOTATION" if copy.labels else "UN_ANNOTATION",
        "annotated_by": copy.author,
        "worker_id": copy.worker_id,
        "labelers": [labeler],
        **(copy.review.document("review") if copy.review else {}),
        **(copy.check.document("check") if copy.check else {}),
    }


def list_team_samples(store: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples` (contract 5.2): each member's copy with its worker id."""
    dataset, task = find(store, call)
    check_locale(call)
    matches = read_filter(call, store.clock.now()).matches
    state = read_state(call)
    copies = [copy for copy in task.copies.values() if task.is_in_state(copy, state)]
    documents = [document(store, dataset, task, copy) for copy in copies]
    if matches is not None:
        documents = [one for one in documents if matches(one)]
    page = read_page(call, store.variants)
    shown = page.cut(documents[::-1] if page.newest_first else documents)
    return json_reply({**page.total("sample_count", len(documents), len(shown)), "samples": processed(shown, call)})


def get_team_sample(store: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples/{sample_id}` (contract 5.2), of one member or of the first who has it.

    Before an acceptance has begun it is refused with 400 ModelArts.4624.
    """
    dataset, task = find(store, call)
    check_locale(call)
    state = read_state(call)
    if not task.is_judged:
        raise refuse("ModelArts.4624", task.task_id)
    sample_id, worker_id = call.params["sample_id"], call.query.get("worker_id") or None
    for copy in task.of(worker_id):
        if copy.sample_id == sample_id and task.is_in_state(copy, state):
            return json_reply(explained(document(store, dataset, task, copy)))
    raise UnknownObjectError("ModelArts.4420", sample_id)


def find_copy(task: TeamTask, sample_id: str, worker_id: str | None) -> Copy:
    """Return the copy that is meant: that of a member, or the only one of the sample.

    :raises Refusal: 400 ModelArts.4420.
    """
    copies = [copy for copy in task.of(worker_id) if copy.sample_id == sample_id]
    if len(copies) != 1:
        raise refuse("ModelArts.4420", sample_id)
    return copies[0]


def update_team_samples(store: Store, call: Call) -> Reply:
    """`PUT W/data-annotations/samples` (contract 5.2): as the owner's write, but only with existing labels."""
    body = call.json()
    dataset, task = find(store, call)
    check_update(store, dataset, body)
    email = body.get("email") or store.member
    if store.member not in (None, email):
        raise refuse("ModelArts.4600", email)
    # On whose behalf; None: the dataset's owner writes.
    member = next((worker_id for worker_id, address in task.workers.items() if address == email), None)
    if email is not None and member is None:
        raise UnknownObjectError("ModelArts.4604", email)

    def write(written: dict[str, Any]) -> None:
        copy = find_copy(task, written["sample_id"], written.get("worker_id") or member)
        if member is not None and (copy.worker_id != member or not _may_edit(task, copy)):
            raise refuse("ModelArts.4600", copy.sample_id)
        labels = labels_to_write(store, dataset, written, only_known=True)
        keep_beside_labels(store, copy, written)
        if labels is not None:
            stored = [dataset.stored(label) for label in labels]
            copy.set_labels(stored, author_of(store, email))

    return reply_to_batch(store, call, body["samples"], write)


def _may_edit(task: TeamTask, copy: Copy) -> bool:
    """Whether its member may change a copy: not once it is accepted (contract 10), nor while it is judged."""
    is_judged = copy.is_sampled and task.status in team.ACCEPTING
    return not copy.accepted and not is_judged and task.status != team.SYNCHRONIZING
