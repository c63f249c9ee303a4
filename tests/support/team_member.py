"""A team of one person, who labels whatever she is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator


def make_team(emulator: Emulator, client: ModelArtsClient) -> str:
    """Make the team; its member gives all samples of a team task their true labels when it is looked at.

    :return: id of the team
    """
    workforce_id: str = client.workforces.create("people")
    client.workforces.create_worker(workforce_id, "labeler@example.com", role=0)

    def label(record: Any) -> None:
        parent, _, task_id = record.path.rpartition("/")
        if record.method != "GET" or not parent.endswith("/workforce-tasks"):
            return
        dataset_id = parent.split("/")[-2]
        dataset, truth = emulator.dataset(dataset_id), emulator.truth(dataset_id)
        if dataset.team_status(task_id) == 1:
            for (sample_id, worker_id), phase in dataset.team_copies(task_id).items():
                if phase == "un_annotation":
                    dataset.label_team_sample(task_id, sample_id, truth[sample_id], worker_id)

    emulator.observers.append(label)
    return workforce_id
