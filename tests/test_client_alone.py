"""The client in an environment without Airflow: its distribution, what it requires, the script of its page."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

import airflow_provider_modelarts
from airflow_provider_modelarts.emulator import Emulator
from demo.environment import REPOSITORY
from tests.support.readme import code_block

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
CLIENT = REPOSITORY / "packages" / "client"


def project(folder: Path) -> dict[str, Any]:
    """Return what a distribution says of itself."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


def closure(names: Iterable[str]) -> set[str]:
    """Return the distributions with everything that they require, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def copy_distribution(name: str, target: Path) -> None:
    """Install a distribution as it is installed here: nothing is fetched."""
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue  # scripts beside site-packages, and compiled files
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), target / file)


@pytest.fixture(scope="module")
def python_without_airflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of such an environment."""
    folder = tmp_path_factory.mktemp("alone")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    for name in closure(Requirement(text).name for text in project(CLIENT)["dependencies"]):
        copy_distribution(name, folder.joinpath(site))
    run(*PIP, "--python", python, "install", "--no-index", build(CLIENT, folder))
    return python


def build(project_folder: Path, target: Path) -> Path:
    """Return the wheel of a distribution."""
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, project_folder)
    (wheel,) = target.glob("*.whl")
    return wheel


def test_the_installation_is_whole(python_without_airflow: Path) -> None:
    run(*PIP, "--python", python_without_airflow, "check")


def test_both_distributions_ask_for_the_same() -> None:
    client, provider = project(CLIENT), project(REPOSITORY)
    assert set(client["dependencies"]) <= set(provider["dependencies"])
    assert client["optional-dependencies"]["emulator"] == provider["optional-dependencies"]["emulator"]
    for field in ("license", "requires-python", "scripts"):
        assert client[field] == provider[field]
    assert provider["version"] == airflow_provider_modelarts.__version__


def test_the_emulator_without_its_extra_says_in_one_line_what_to_install(python_without_airflow: Path) -> None:
    done = begin(python_without_airflow.with_name("modelarts-emulator"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    for part in ("modelarts-emulator: ", "starlette, uvicorn, scikit-learn, pillow", "pip install '.[emulator]'"):
        assert part in done.stderr
    done = begin(python_without_airflow, "-c", "from airflow_provider_modelarts.emulator import Emulator")
    assert "ModuleNotFoundError: the emulator needs starlette, uvicorn" in done.stderr


def begin(*command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees nothing of this repository but what is installed."""
    return subprocess.run(
        [str(part) for part in command],
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=600,
    )


def run(*command: object, **environ: str) -> str:
    done = begin(*command, **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_environment_has_the_package_and_no_airflow(python_without_airflow: Path) -> None:
    script = (
        "import importlib.util as util, airflow_provider_modelarts as package;"
        "print(util.find_spec('airflow'), util.find_spec('starlette'), package.__file__)"
    )
    airflow, starlette, file = run(python_without_airflow, "-c", script).split()
    assert (airflow, starlette) == ("None", "None")
    assert str(python_without_airflow.parents[1]) in file


@pytest.mark.parametrize("folder", [CLIENT, REPOSITORY], ids=["client", "provider"])
def test_the_wheel_brings_the_types_and_leaves_the_tests_at_home(folder: Path, tmp_path: Path) -> None:
    wheel = build(folder, tmp_path)
    names = run(sys.executable, "-m", "zipfile", "-l", wheel)
    for part in ("py.typed", "client/client.py", "emulator/http/server.py", "LICENSE"):
        assert part in names
    assert "tests/" not in names
    assert "demo/" not in names
    for part in ("operators/samples.py", "example_dags/auto_label_images.py"):
        assert (f"airflow_provider_modelarts/{part}" in names) is (folder == REPOSITORY)


def test_the_script_of_its_page_confirms_every_proposal(python_without_airflow: Path) -> None:
    script = code_block("The client without Airflow", page="docs/client.md")
    assert sum(1 for line in script.splitlines() if line.strip() and not line.startswith(("import", "from"))) <= 12
    with Emulator(seed=2, task_seconds=1) as emulator:
        dataset_id = emulator.load_digits(labeled=150)
        words = (emulator.url, emulator.user, emulator.password, emulator.domain, emulator.region, emulator.url)
        output = run(python_without_airflow, "-W", "error", "-c", script, MODELARTS=" ".join((*words, dataset_id)))
        dataset = emulator.dataset(dataset_id)
        assert dataset.unconfirmed == 0
        assert dataset.annotated == len(dataset.samples)
        assert [emulator.journal.count(*kind) for kind in STEPS] == [1, 1, 1, 17, 17]
    assert sum(int(line.split()[0]) for line in output.splitlines()) == 1797 - 150


STEPS = (
    ("POST", "/v3/auth/tokens"),
    ("POST", "/tasks"),
    ("GET", "/tasks/"),
    ("GET", "/auto-annotations/samples"),
    ("PUT", "/data-annotations/samples"),
)
