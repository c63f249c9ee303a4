"""What Airflow learns about the package: both of its schemas, the connection form, and its own command."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_modelarts import __version__
from airflow_provider_modelarts.get_provider_info import get_provider_info

SCHEMAS = ("provider.yaml.schema.json", "provider_info.schema.json")
SECRET_FIELDS = {"password", "security_token"}


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(airflow.__file__).parent / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_provider_info_is_valid(name: str) -> None:
    jsonschema.validate(get_provider_info(), schema(name))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_do_refuse_something(name: str) -> None:
    info = copy.deepcopy(get_provider_info())
    del info["connection-types"][0]["hook-class-name"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(info, schema(name))


def test_airflow_finds_it_by_its_entry_point() -> None:
    (entry_point,) = (
        entry_point
        for entry_point in importlib.metadata.entry_points(group="apache_airflow_provider")
        if entry_point.dist is not None and entry_point.dist.name == "airflow-provider-modelarts"
    )
    assert entry_point.name == "provider_info"
    assert entry_point.load() is get_provider_info


def test_the_version_is_one() -> None:
    assert importlib.metadata.version("airflow-provider-modelarts") == __version__
    assert get_provider_info()["versions"][0] == __version__


def test_every_module_it_names_exists_and_every_module_is_named() -> None:
    package = Path(sys.modules["airflow_provider_modelarts"].__file__ or "").parent
    info = get_provider_info()
    for kind in ("operators", "sensors", "hooks", "triggers"):
        named = {module for group in info.get(kind, ()) for module in group["python-modules"]}
        there = {
            f"airflow_provider_modelarts.{kind}.{path.stem}"
            for path in (package / kind).glob("*.py")
            if not path.stem.startswith("_") and _has_public_class(path)
        }
        assert there == named, kind


def _has_public_class(path: Path) -> bool:
    return "\nclass ModelArts" in path.read_text(encoding="utf-8")


def test_the_classes_it_names_can_be_imported() -> None:
    info = get_provider_info()
    names = [one["hook-class-name"] for one in info["connection-types"]] + list(info.get("extra-links", ()))
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(__import__(module, fromlist=[attribute]), attribute)


@pytest.fixture(scope="module")
def form() -> Any:
    """What the UI's connection form gets for our connection type."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (found,) = (one for one in HookMetaService.hook_meta_data() if one.connection_type == "modelarts")
    return found


def test_the_form_shows_every_field(form: Any) -> None:
    assert form.hook_name == "Huawei Cloud ModelArts"
    assert form.hook_class_name == "airflow_provider_modelarts.hooks.modelarts.ModelArtsHook"
    assert set(form.extra_fields) == {
        "auth",
        "domain_name",
        "region",
        "project_name",
        "project_id",
        "iam_endpoint",
        "security_token",
        "obs_endpoint",
        "verify",
        "timeout",
        "allow_http",
        "poll_threads",
        "console",
    }
    assert all(field["description"] for field in form.extra_fields.values())
    assert form.standard_fields.url_schema.hidden
    assert form.standard_fields.host.title == "ModelArts endpoint"


def test_the_form_hides_the_secrets_and_nothing_else(form: Any) -> None:
    hidden = {name for name, field in form.extra_fields.items() if field["schema"].get("format") == "password"}
    assert hidden == SECRET_FIELDS - {"password"}, "the standard password field is hidden by Airflow itself"


def test_the_form_can_be_left_empty_but_for_what_is_needed(form: Any) -> None:
    for name, field in form.extra_fields.items():
        if name != "auth":
            jsonschema.validate(None, field["schema"])
    jsonschema.validate("password", form.extra_fields["auth"]["schema"])


def test_airflow_masks_the_secret_extras() -> None:
    from airflow.sdk.log import redact

    for name in ("security_token", "password"):
        assert redact({name: "s3nt1nel"}) == {name: "***"}


def test_the_airflow_command_lists_the_package(airflow_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "get", "airflow-provider-modelarts", "--full", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "airflow-provider-modelarts" in done.stdout
    assert "ModelArtsHook" in done.stdout
