"""``obs://`` as a scheme of its own: plans, ledgers, undos and exports on S3 software, by a connection's access key."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.fs import obs
from airflow_provider_modelarts.fs.obs_filesystem import ObsFileSystem
from airflow_provider_modelarts.get_provider_info import get_provider_info
from airflow_provider_modelarts.hooks.modelarts import clear_clients
from airflow_provider_modelarts.labeling.export.folder import read_export
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.operators._uri_parameters import storage_path
from airflow_provider_modelarts.operators.export_labels import ModelArtsExportLabelsOperator
from tests.labeling.export_datasets import expected, label_all
from tests.labeling.export_readers import READERS
from tests.operators.runners import RUN_ID, ConfirmRunner
from tests.support.entry_points import register_filesystems
from tests.support.s3_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.s3_server import S3Server

PLACE = f"obs://keys@{BUCKET}"
POLICY = {"min_score": 0.5, "hard_examples": "confirm"}


def connection(**extra: Any) -> str:
    given = {"auth": "access_key", "project_id": "p", "region": "cn-north-4", **extra}
    return json.dumps(
        {"conn_type": "modelarts", "login": "an-access-key", "password": "a-secret-key", "extra": json.dumps(given)}
    )


@pytest.fixture
def store(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An empty bucket that the connection ``keys`` leads to."""
    register_filesystems()
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", connection(obs_endpoint=bucket.url))
    yield bucket
    clear_clients()


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, store: S3Server) -> ConfirmRunner:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path, 60)
    runner.plan_uri, runner.ledger_uri = f"{PLACE}/plans/{RUN_ID}.jsonl", f"{PLACE}/ledger"
    return runner


def test_airflow_and_fsspec_know_the_scheme(store: S3Server) -> None:
    assert get_provider_info()["filesystems"] == [obs.__name__]
    assert fsspec.get_filesystem_class("obs") is ObsFileSystem
    path = ObjectStoragePath(f"{PLACE}/a/b")
    assert isinstance(path.fs, ObsFileSystem)
    assert (str(path / "c"), path.path, path.conn_id) == (f"{PLACE}/a/b/c", f"{BUCKET}/a/b", "keys")


def test_plan_apply_undo_and_export(runner: ConfirmRunner, store: S3Server) -> None:
    before = runner.final
    planned = runner.plan(policy=POLICY)
    assert planned.error is None
    assert planned.result["plan_uri"] == runner.plan_uri
    done = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    assert done.error is None
    ledger = read_ledger(ObjectStoragePath(runner.ledger_uri), RUN_ID)
    assert ledger.chains[0].first().plan_uri == runner.plan_uri

    uri = f"{PLACE}/export"
    for _ in range(2):
        operator = ModelArtsExportLabelsOperator(
            task_id="export",
            dataset_id=runner.dataset_id,
            uri=uri,
            format="modelarts-manifest",
            plan_uri=runner.plan_uri,
            ledger_uri=runner.ledger_uri,
        )
        exported = runner.run(operator, 1, 3)
        assert exported.error is None
        assert (exported.result["samples"], exported.result["uri"]) == (done.result["confirmed"], uri)
        assert exported.result["confirmed"] == done.result["confirmed"]
    root = ObjectStoragePath(uri)
    assert read_export(root, check_files=True)["samples"] == done.result["confirmed"]
    assert sorted(path.name for path in root.iterdir()) == [
        "export.files.jsonl",
        "export.json",
        "labels.manifest",
        "samples.jsonl",
    ]

    undone = runner.revert()
    assert undone.error is None
    assert runner.final == before
    assert all(request.is_signed for request in store.requests), "nothing was asked without the connection"


def test_many_small_files_and_one_that_is_not_there_any_more(
    runner: ConfirmRunner, store: S3Server, emulator: Emulator, tmp_path: Path
) -> None:
    dataset_id = label_all(emulator, 40, "detection")
    operator = ModelArtsExportLabelsOperator(
        task_id="export", dataset_id=dataset_id, uri=f"{PLACE}/yolo", format="yolo"
    )
    assert runner.run(operator, 1, 3).result["files"] == 42
    dataset = emulator.dataset(dataset_id)
    dataset.edit(next(iter(dataset.samples)), [])
    assert runner.run(operator, 1, 3).result["files"] == 41
    root = ObjectStoragePath(f"{PLACE}/yolo")
    assert read_export(root, check_files=True)["samples"] == 39
    client = store.client()
    for found in client.list_objects_v2(Bucket=BUCKET, Prefix="yolo/")["Contents"]:
        path = tmp_path / found["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())
    assert READERS["yolo"](tmp_path / "yolo") == expected(emulator, dataset_id)

    client.put_object(Bucket=BUCKET, Key="yolo/labels/mine.txt", Body=b"mine")
    refused = runner.run(operator, 1, 3)
    assert type(refused.error) is AirflowFailException
    assert "labels/mine.txt" in str(refused.error)
    client.delete_object(Bucket=BUCKET, Key="yolo/labels/mine.txt")
    client.put_object(Bucket=BUCKET, Key="yolo/", Body=b"")  # a folder as the console makes it
    client.put_object(Bucket=BUCKET, Key="yolo/labels/", Body=b"")
    assert runner.run(operator, 1, 3).error is None


def test_without_a_connection_the_default_one_is_asked(
    runner: ConfirmRunner, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow itself would ask the vendor's own address, as nobody."""
    ending = runner.plan(plan_uri=f"obs://{BUCKET}/plan.jsonl")
    assert type(ending.error) is AirflowFailException
    assert "'modelarts_default' logs in by password, and obs:// needs an access key" in str(ending.error)
    assert store.requests == []
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", connection(obs_endpoint=store.url))
    clear_clients()
    path = storage_path("uri", f"obs://{BUCKET}/labels")
    assert str(path) == f"obs://modelarts_default@{BUCKET}/labels"
    assert path.fs.exists(BUCKET)


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ({"region": "moon-1", "host": "modelarts.example.com"}, "does not say where OBS is"),
        ({"obs_endpoint": "http://obs.example.com"}, "use https, or set allow_http"),
        ({"obs_endpoint": "https://user:word@obs.example.com"}, "obs_endpoint must be a host or an"),
    ],
)
def test_a_connection_that_leads_nowhere_is_named(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], complaint: str
) -> None:
    fields = json.loads(connection(**{name: value for name, value in extra.items() if name != "host"}))
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({**fields, "host": extra.get("host", "")}))
    ending = runner.plan(plan_uri=f"obs://bad@{BUCKET}/plan.jsonl")
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert "a-secret-key" not in str(ending.error)


def test_an_unknown_connection_is_worth_a_retry(runner: ConfirmRunner) -> None:
    ending = runner.plan(plan_uri=f"obs://nobody@{BUCKET}/plan.jsonl")
    assert "does not know the connection 'nobody'" in str(ending.error)
    assert type(ending.error) is not AirflowFailException


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"region": "cn-north-4"}, "https://obs.cn-north-4.myhuaweicloud.com"),
        ({"region": "eu-de"}, "https://obs.eu-de.otc.t-systems.com"),
        ({"endpoint_url": "https://obs.example.com"}, "https://obs.example.com"),
    ],
)
def test_scripts_reach_it_without_airflow(given: dict[str, str], address: str) -> None:
    register_filesystems()
    found = fsspec.filesystem("obs", key="k", secret="s", skip_instance_cache=True, **given)
    assert found.endpoint_url == address
    assert found.config_kwargs["s3"] == {"addressing_style": "virtual"}
    assert found._strip_protocol("obs://bucket/a b") == "bucket/a b"


def test_scripts_must_say_where_it_is() -> None:
    with pytest.raises(ValueError, match="needs region or endpoint_url"):
        ObsFileSystem(key="k", secret="s", skip_instance_cache=True)


@pytest.mark.parametrize("given", [{}, {"key": None, "secret": None}, {"key": "k"}, {"secret": "s"}, {"key": ""}])
def test_without_a_key_amazons_own_is_not_taken(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else botocore looks for one in the environment, in files, and at the machine's own address for that."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-amazon")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-amazon")
    with pytest.raises(ValueError, match="needs key and secret"):
        ObsFileSystem(region="cn-north-4", skip_instance_cache=True, **given)
    ObsFileSystem(region="cn-north-4", anon=True, skip_instance_cache=True)


@pytest.mark.parametrize("bucket", ["arn:aws:s3:eu-west-1:123456789012:accesspoint/labels", "bucket--use1-az4--x-s3"])
def test_what_only_amazon_has_is_no_bucket(bucket: str) -> None:
    """Botocore would take these for places of Amazon, whatever endpoint was given."""
    found = ObsFileSystem(key="k", secret="s", region="ap-southeast-3", skip_instance_cache=True)
    with pytest.raises(ValueError, match="no bucket of OBS"):
        found.ls(f"obs://{bucket}/plans")
    with pytest.raises(ValueError, match="no bucket of OBS"):
        found.open(f"obs://{bucket}/plans/x", "wb")


def test_the_region_of_the_endpoint_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = json.loads(connection())
    extra = {"auth": "access_key", "project_id": "p"}
    place = "https://modelarts.cn-east-3.myhuaweicloud.com"
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps({**fields, "host": place, "extra": json.dumps(extra)}))
    found = obs.get_fs("keys")
    clear_clients()
    assert found.endpoint_url == "https://obs.cn-east-3.myhuaweicloud.com"
    assert found.client_kwargs["region_name"] == "cn-east-3"


FRESH = """
from airflow.sdk import ObjectStoragePath
for scheme in ("s3", "obs"):
    path = ObjectStoragePath(scheme + "://labels/export/a.json")
    print([path.name, path.stem, path.parts, *(str(one).partition("://")[2] for one in (
        path, path.parent, path.parent.parent, path.parent / "b", path.with_name("c.txt")))])
"""


def test_a_path_is_cut_as_one_of_s3_in_a_process_that_has_used_none_before() -> None:
    """The first look at a scheme that universal_pathlib does not know cuts names, and stays for the whole process."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FRESH], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[-2:]
    assert first == second
    assert first.startswith("['a.json', 'a', ('labels/', 'export', 'a.json'), 'labels/export/a.json', 'labels/export'")
