"""The client in an environment without Airflow: the built wheel, its three dependencies, and the README's script."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from airflow_provider_modelarts.emulator import Emulator
from demo.environment import REPOSITORY
from tests.support.readme import code_block

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEPENDENCIES = ("requests", "pydantic", "tenacity")


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
    for name in closure(DEPENDENCIES):
        copy_distribution(name, folder.joinpath(site))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "--python", python, "install", "--no-index", "--no-deps", wheel)
    return python


def run(*command: object, **environ: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=600,
    )
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


def test_the_wheel_brings_the_types_and_leaves_the_tests_at_home(python_without_airflow: Path) -> None:
    (wheel,) = python_without_airflow.parents[2].glob("*.whl")
    names = run(sys.executable, "-m", "zipfile", "-l", wheel)
    assert "airflow_provider_modelarts/py.typed" in names
    assert "licenses/LICENSE" in names
    assert "tests/" not in names
    assert "demo/" not in names


def test_the_script_of_the_readme_confirms_every_proposal(python_without_airflow: Path) -> None:
    script = code_block("The client without Airflow")
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
