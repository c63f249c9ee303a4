"""Train whenever a version of a dataset was published, as the example ``nightly_pipeline`` does.

The task that publishes names the asset as its outlet, and its event says which version of which dataset it is about. So
nothing polls, and no id is written down here. A version that somebody has deleted since is left out.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

# The same name as in nightly_pipeline: it is one asset for the versions of all of its datasets.
published = Asset(name="published_versions")


@task
def name_versions(triggering_asset_events: Any = None) -> list[dict[str, str]]:
    """Return the versions that this run is about: several, if they were published before it could begin."""
    extras = [event.extra for event in triggering_asset_events[published]]
    names = ("dataset_id", "version_id")
    return [{name: extra[name] for name in names} for extra in extras if extra.get("version_id")]


@task
def train(version: dict[str, str]) -> dict[str, Any]:
    """Find the manifest, which lists each image with its labels. Your training begins here."""
    versions = ModelArtsHook().client.versions
    found = next(
        (one for one in versions.list(version["dataset_id"]) if one.version_id == version["version_id"]),
        None,
    )
    if found is None:
        raise AirflowSkipException(f"Version {version['version_id']} was deleted.")
    return {**version, "manifest_path": found.manifest_path, "images": found.annotated_sample_count}


with DAG(
    dag_id="train_on_new_version",
    schedule=[published],
    doc_md=__doc__,
    tags=["modelarts"],
):
    train.expand(version=name_versions())
