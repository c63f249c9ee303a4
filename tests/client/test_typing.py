"""What a user's own script sees of the client: its types, and the texts that ``help()`` shows."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

import airflow_provider_modelarts.client as package
from airflow_provider_modelarts.client import (
    Dataset,
    DatasetStatus,
    DatasetType,
    LabelTask,
    LabelType,
    ModelArtsClient,
    Sample,
    SampleLabel,
    SampleStatus,
    TaskEvent,
    TaskState,
    errors,
    resources,
    states,
)
from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.models import Field, Model
from demo.environment import REPOSITORY
from tests.support.contract import at
from tests.test_contract_examples import DECLARED, READERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = resources.__name__

SCRIPT = """
from airflow_provider_modelarts.client import (
    AcceptanceAction, DatasetStatus, LabelType, ModelArtsClient, OffsetMode, Order, PasswordCredentials, Sample,
    SampleState, TaskState, TaskType, TeamTaskState,
)
from airflow_provider_modelarts.client.errors import ModelArtsError, TaskAlreadyRunning
from airflow_provider_modelarts.client.requests.search import SearchCondition, SearchProp
from airflow_provider_modelarts.client.requests.tasks import InfConfig, SmartTaskConfig

SMALL = SearchCondition(hard="0", metadata=SearchProp(props={"size": ["small"]}))


def unlabeled(client: ModelArtsClient, dataset_id: str) -> int:
    dataset = client.datasets.get(dataset_id)
    return dataset.total_sample_count - dataset.annotated_sample_count


def start(client: ModelArtsClient, dataset_id: str) -> str:
    try:
        if client.request("GET", "datasets", dataset_id, query={"check_running_task": True})["exist_running_task"]:
            print("busy")
        config = SmartTaskConfig(
            algorithm_type="fast", inf_config_list=[InfConfig(specification="modelarts.vm.cpu.2u", instance_count=1)]
        )
        if dataset_id:
            return client.tasks.start(dataset_id, TaskType.AUTO_LABEL, config=config, extra={"config": {"seed": 7}})
        return client.tasks.start(dataset_id, "auto-label", config={"algorithm_type": "fast"})
    except TaskAlreadyRunning:
        tasks = client.tasks.list(dataset_id, task_type=TaskType.AUTO_LABEL)
        return next(task.task_id for task in tasks if not task.is_terminal)


def certain(sample: Sample) -> bool:
    return all(label.score is not None and label.score > 0.9 for label in sample.labels)


def main() -> None:
    credentials = PasswordCredentials("https://iam.example.com", "user", "password", "account", project_name="p")
    with ModelArtsClient("https://modelarts.example.com", credentials) as client:
        ids: dict[str, str] = {dataset.dataset_name: dataset.dataset_id for dataset in client.datasets.list()}
        for name, dataset_id in ids.items():
            print(name.upper(), unlabeled(client, dataset_id))
        for dataset in client.datasets.list(search="flowers"):
            if dataset.status == DatasetStatus.NORMAL:
                names: set[str] = {label.name for label in client.labels.list(dataset.dataset_id)}
                task = client.tasks.wait(dataset.dataset_id, start(client, dataset.dataset_id), timeout=3600)
                again = client.tasks.get(task.dataset_id, task.task_id)
                steps: list[str] = [event.name for event in again.events]
                print(again.state is TaskState.SUCCEEDED, again.state.is_terminal, names, steps)
                seconds: float | None = again.elapsed_time
                version: str | None = again.result.model_version
                print(seconds, version, again.progress or 0.0)
                proposals = client.proposals.list(dataset.dataset_id, order=Order.OLDEST_FIRST)
                batch = [sample for sample in proposals if certain(sample)][:100]
                for outcome in client.samples.update(dataset.dataset_id, batch):
                    print(outcome.sample_id, outcome.ok, outcome.error_msg or "")
                unlabeled_samples = client.samples.list(
                    dataset.dataset_id, sample_state=SampleState.UNLABELED, search_conditions=SMALL
                )
                for sample in unlabeled_samples:
                    print(sample.sample_id, sample.label_names)
                    label = {"name": "daisy", "type": LabelType.IMAGE_CLASSIFICATION}
                    client.samples.update(
                        dataset.dataset_id, [{"sample_id": sample.sample_id, "labels": [label]}]
                    )
                for team_task in client.team_tasks.list(dataset.dataset_id):
                    if team_task.status is not None and not team_task.status.is_terminal:
                        people: list[str] = [worker.email for team in team_task.teams for worker in team.workers]
                        counts = team_task.sample_stats
                        print(team_task.status.name, people, counts and counts.accepted_sample_count)
                    if team_task.status == TeamTaskState.REJECTED and team_task.checking_task_desc:
                        print(team_task.checking_task_desc.action is AcceptanceAction.REJECT_ALL)
                page = client.proposals.page(dataset.dataset_id, 0, limit=10, offset_mode=OffsetMode.PAGES)
                print(sum(len(sample.labels) for sample in page.items), page.total)


if __name__ == "__main__":
    try:
        main()
    except ModelArtsError as error:
        print(error.code, error.status, error.request_id)
"""


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy has found out about the package, for the next script as well."""
    return tmp_path_factory.mktemp("mypy_cache")


def check_by_mypy(script: str, cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Check a script strictly, and return what mypy says; it finds no error."""
    from mypy import api

    monkeypatch.chdir(folder)
    monkeypatch.setenv("MYPYPATH", str(REPOSITORY))
    (folder / "script.py").write_text(script)
    options = ["--strict", "--follow-imports", "silent", "--cache-dir", str(cache)]
    said, complaints, status = api.run([*options, "script.py"])
    assert (status, complaints) == (0, ""), said
    return said


def test_a_users_script_is_checked_strictly_without_an_error(
    mypy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_by_mypy(SCRIPT, mypy_cache, tmp_path, monkeypatch)


# --- every field of every answer

KINDS = {"text": "str", "texts": "str", "flag": "bool", "integer": "int", "number": "float"}
"""By the word with which the documentation of a field begins the type that a checker must see."""

STATES = [state.__name__ for state in states.State.__subclasses__()]
"""Types whose values know whether something is over, also where a number is unknown."""


def answers() -> dict[str, type[Model]]:
    """Return the models of all answers, by their names."""
    modules = [importlib.import_module(found.name) for found in pkgutil.iter_modules(resources.__path__, f"{HOME}.")]
    things = [thing for module in modules for thing in vars(module).values()]
    return {
        one.__name__: one for one in things if isinstance(one, type) and issubclass(one, Model) and one is not Model
    }


def readable(model: type[Model]) -> dict[str, str]:
    """Return what can be read of a model, and how its documentation begins."""
    parts = {name: inspect.getattr_static(model, name) for name in dir(model) if not name.startswith("_")}
    return {
        name: re.match(r"\w*", inspect.getdoc(part) or "")[0]  # type: ignore[index]
        for name, part in parts.items()
        if isinstance(part, (Field, property, cached_property))
    }


def reading_script() -> tuple[str, list[str]]:
    """Return a user's script that asks for the type of each field of each answer, and the names of these fields."""
    lines, names = [], []
    for name, model in sorted(answers().items()):
        lines += [f"from {model.__module__} import {name}", f"def read_{name}(one: {name}) -> None:"]
        for field in readable(model):
            lines.append(f"    reveal_type(one.{field})")
            names.append(f"{name}.{field}")
    for name in STATES:
        lines += [f"from {states.__name__} import {name}", f"def read_{name}(one: {name}) -> None:"]
        lines += ["    reveal_type(one.is_terminal)"]
        names.append(f"{name}.is_terminal")
    return "\n".join(lines), names


def check_revealed(revealed: list[str], names: list[str]) -> None:
    """Check that a type checker has told the type of each field, and that it is of the documented kind."""
    seen = dict(zip(names, revealed, strict=True))
    assert {
        name: kind for name, kind in seen.items() if re.search(r"\b(Unknown|Never|object)\b", kind) or kind == "Any"
    } == {}
    otherwise = {}
    for model_name, model in answers().items():
        for field, word in readable(model).items():
            kind = seen[f"{model_name}.{field}"]
            is_state = any(state in kind for state in STATES)
            wanted = KINDS.get(word, "")
            if wanted not in kind and not is_state:
                otherwise[f"{model_name}.{field}"] = f"documented as {wanted}, seen as {kind}"
    assert otherwise == {}
    assert {state for state in STATES if any(state in kind for kind in seen.values())} == set(STATES)
    assert {kind for name, kind in seen.items() if name.endswith(".is_terminal")} == {"bool"}


def test_each_field_of_each_answer_of_the_contract_is_in_the_script() -> None:
    _, names = reading_script()
    of_contract = {
        f"{model.__name__}.{field}"
        for schema, model, renamed in DECLARED
        if issubclass(model, Model)
        for field in set(at(f"/components/schemas/{schema}")["properties"]) - renamed
    }
    assert len(of_contract) > 200
    assert of_contract <= set(names)
    assert {model.__name__ for _, _, model in READERS if issubclass(model, Model)} <= set(answers())


def test_mypy_knows_the_type_of_each_field(mypy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, names = reading_script()
    said = check_by_mypy(script, mypy_cache, tmp_path, monkeypatch)
    check_revealed(re.findall(r'Revealed type is "(.*)"$', said.replace("builtins.", ""), re.MULTILINE), names)


def test_pyright_finds_no_error_and_knows_the_type_of_each_field(tmp_path: Path) -> None:
    pytest.importorskip("pyright", reason="make installs it with the other tools of pyproject.toml's extra dev")
    script, names = reading_script()
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "fields.py").write_text(script)
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(REPOSITORY)],
        "include": ["script.py", "fields.py"],
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [one for one in found if one["severity"] != "information"] == []
    assert done.returncode == 0, done.stderr
    check_revealed([re.findall(r' is "(.*)"$', one["message"])[0] for one in found], names)


@pytest.mark.parametrize(
    ("value", "found", "known"),
    [
        (Dataset({"status": 6}).status, 6, DatasetStatus),
        (Dataset({"status": "1.0"}).status, 1, DatasetStatus),
        (Dataset({"status": 77}).status, 77, None),
        (Dataset({"dataset_type": 0}).dataset_type, 0, DatasetType),
        (Dataset({"dataset_type": 5}).dataset_type, 5, None),
        (SampleLabel({"type": "1"}).type, 1, LabelType),
        (SampleLabel({"type": 900}).type, 900, None),
        (Sample({"sample_status": "un_annotation"}).sample_status, "UN_ANNOTATION", SampleStatus),
        (Sample({"sample_status": "Odd"}).sample_status, "Odd", None),
        (TaskEvent({"status": "success"}).status, "success", str),
        (TaskEvent({"status": "done"}).status, "done", None),
        (LabelTask({"status": 3}).state, 3, TaskState),
        (LabelTask({"status": 9}).state, 9, TaskState),
        (LabelTask({}).status, None, None),
        (Dataset({"status": True}).status, None, None),
        (Dataset({"status": "1_0"}).status, None, None),
        (Dataset({}).status, None, None),
    ],
)
def test_a_word_or_number_of_the_service_that_is_not_known_stays_what_it_is(
    value: object, found: object, known: type | None
) -> None:
    assert value == found
    assert isinstance(value, known) if known else type(value) is type(found)


def test_texts_that_the_service_left_out_are_empty_and_counts_are_not_made_up() -> None:
    dataset = Dataset({"dataset_id": "d", "total_sample_count": "7"})
    assert (dataset.dataset_id, dataset.dataset_name, dataset.total_sample_count) == ("d", "", 7)
    with pytest.raises(UnexpectedResponse, match=r"no annotated_sample_count in Dataset\(dataset_id='d'"):
        _ = dataset.annotated_sample_count
    assert LabelTask({}).task_id == ""


RESOURCES = (
    *("tasks", "proposals", "samples", "sample_files", "team_samples", "datasets", "labels", "versions"),
    *("imports", "exports", "sync", "team_tasks", "workforces"),
)


def documented() -> Iterator[tuple[str, str]]:
    """Yield every public thing of the client that ``help()`` shows, with its text."""
    things: list[tuple[str, Any]] = [(name, getattr(package, name)) for name in package.__all__]
    things += [(name, thing) for name, thing in vars(errors).items() if inspect.isclass(thing)]
    for resource in RESOURCES:
        things.append((resource, inspect.get_annotations(getattr(ModelArtsClient, resource).func, eval_str=False)))
        name = things.pop()[1]["return"]
        module = "transfers" if resource in ("imports", "exports", "sync") else resource
        home = __import__(f"{package.__name__}.resources.{module}", fromlist=[name])
        things.append((resource, getattr(home, name)))
    for name, thing in things:
        yield name, thing.__doc__ or ""
        if inspect.isclass(thing):
            for member, value in inspect.getmembers(thing):
                if not member.startswith("_"):
                    yield f"{name}.{member}", inspect.getdoc(value) or ""


def test_help_explains_itself() -> None:
    found = dict(documented())
    assert len(found) > 200
    assert not {name for name, text in found.items() if re.search(r"\bB\d+\b|\bquirks? \d", text)}
