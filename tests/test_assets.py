"""Assets of datasets: one URI for each, the handler that Airflow calls, and the OpenLineage dataset of it."""

from __future__ import annotations

import pytest

from airflow_provider_modelarts.assets import DatasetUri, convert_asset_to_openlineage, create_asset

DATASET = "modelarts://cn-north-4/5fe8adbae8d5/6mHUGe7ETlhayb4qDMN"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (DATASET, DATASET),
        (f"{DATASET}/", DATASET),
        (f"{DATASET}/V-3x", f"{DATASET}/V-3x"),
        (DATASET.replace("modelarts", "ModelArts").replace("cn-north-4", "CN-North-4"), DATASET),
        (f"{DATASET}#nothing", DATASET),
    ],
)
def test_airflow_keeps_one_spelling_of_a_dataset(written: str, found: str) -> None:
    """By the handler of the provider's description, as a DAG file meets it."""
    from airflow.sdk import Asset

    assert Asset(written).uri == found


@pytest.mark.parametrize(
    "wrong",
    [
        "modelarts://cn-north-4/project",
        "modelarts://cn-north-4",
        f"{DATASET}/version/more",
        DATASET.replace("/5fe8", "//5fe8"),
        f"{DATASET}?signature=x",
        DATASET.replace("cn-north-4", "cn-north-4:443"),
        DATASET.replace("cn-north-4", "somebody@cn-north-4"),
        DATASET.replace("cn-north-4", "_"),
        DATASET.replace("6mHUGe7ETlhayb4qDMN", "{{ params.dataset_id }}"),
        DATASET.replace("6mHUGe7ETlhayb4qDMN", ".."),
        DATASET.replace("6mHUGe7ETlhayb4qDMN", "a%2Fb"),
        "modelarts:///project/dataset",
    ],
)
def test_any_other_form_is_refused_and_the_right_one_named(wrong: str) -> None:
    from airflow.sdk import Asset

    with pytest.raises(ValueError, match="modelarts://REGION/PROJECT/DATASET"):
        Asset(wrong)


def test_an_asset_is_made_of_its_parts() -> None:
    asset = create_asset(
        region="cn-north-4", project_id="5fe8adbae8d5", dataset_id="6mHUGe7ETlhayb4qDMN", name="digits"
    )
    assert (asset.name, asset.uri) == ("digits", DATASET)
    version = DatasetUri.of("CN-north-4", "5fe8adbae8d5", "6mHUGe7ETlhayb4qDMN", "V1")
    assert (str(version), version.name) == (f"{DATASET}/V1", "6mHUGe7ETlhayb4qDMN/V1")
    with pytest.raises(ValueError, match="'' is no version"):
        create_asset(region="cn-north-4", project_id="p", dataset_id="d", version_id="")


@pytest.mark.parametrize("version", ["", "/V-3x"])
def test_its_dataset_in_lineage_is_the_operators(version: str) -> None:
    pytest.importorskip("openlineage.client")
    from airflow.sdk import Asset

    found = convert_asset_to_openlineage(Asset(DATASET + version), None)
    assert (found.namespace, found.name) == (
        "modelarts://cn-north-4/5fe8adbae8d5",
        f"6mHUGe7ETlhayb4qDMN{version}",
    )


def test_airflow_finds_the_converter() -> None:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    assert ProvidersManagerTaskRuntime().asset_to_openlineage_converters["modelarts"] is convert_asset_to_openlineage
