"""The walls of docs/architecture.md: who may import whom, read from import statements and tried in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_modelarts

PACKAGE = Path(airflow_provider_modelarts.__file__).parent
NAME = PACKAGE.name

THIN = ("operators", "sensors", "triggers", "links", "utils")
"""What a DAG file imports."""

# What a module of each part may import of our own package. "" are the modules at the top of the package.
MAY_IMPORT = {
    "client": {"client"},
    "labeling": {"labeling", "client"},
    "hooks": {"hooks", "labeling", "client"},
    **{part: {*THIN, "hooks", "labeling", "client"} for part in THIN},
    "utils": {"utils", "hooks", "labeling", "client"},
    "emulator": {"emulator"},
    "get_provider_info": set(),
    "example_dags": {*THIN, "hooks"},
}
# What a module of each part may not import of anybody else.
MAY_NOT_IMPORT = {
    "client": {"airflow"},
    "labeling": {"airflow", "requests", "urllib3", "httpx", "socket", "http", "urllib.request"},
    "emulator": {"airflow"},
    "get_provider_info": {"airflow", "pydantic", "requests", "yaml"},
    **{part: {"requests", "starlette", "sklearn"} for part in THIN},
}


def imported_names(source: str, module: str) -> set[str]:
    """Return the full names of everything that ``source`` imports anywhere, ``module`` being its own full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def breaches(part: str, names: set[str]) -> set[str]:
    """Return those of the imported ``names`` that a module of ``part`` may not import."""
    found = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == NAME:
            target = rest.partition(".")[0]
            if target and (PACKAGE / target).is_dir() | (PACKAGE / f"{target}.py").is_file():
                found |= {name} - ({name} if target in MAY_IMPORT[part] else set())
        elif any(name == wall or name.startswith(f"{wall}.") for wall in MAY_NOT_IMPORT.get(part, ())):
            found.add(name)
    return found


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem != "__init__"]


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    module = ".".join((NAME, *path.relative_to(PACKAGE).with_suffix("").parts))
    assert breaches(part_of(path), imported_names(path.read_text(encoding="utf-8"), module)) == set()


def test_every_part_has_a_rule() -> None:
    assert {part_of(path) for path in modules()} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("part", "source", "found"),
    [
        ("client", "def f():\n    from airflow.sdk import BaseHook", {"airflow.sdk", "airflow.sdk.BaseHook"}),
        ("client", "from ..labeling import policy", {f"{NAME}.labeling", f"{NAME}.labeling.policy"}),
        ("labeling", "import urllib.request", {"urllib.request"}),
        ("labeling", "from airflow_provider_modelarts.client import errors", set()),
        ("emulator", "import airflow_provider_modelarts.client.errors", {f"{NAME}.client.errors"}),
        ("triggers", "if True:\n    import requests", {"requests"}),
        ("triggers", "from airflow_provider_modelarts import hooks", set()),
        ("hooks", "from airflow_provider_modelarts import operators", {f"{NAME}.operators"}),
        ("client", "import airflow_provider_modelarts.client.clock, airflowx", set()),
    ],
)
def test_a_breach_is_found(part: str, source: str, found: set[str]) -> None:
    assert breaches(part, imported_names(source, f"{NAME}.{part}.module")) == found


def run(script: str) -> str:
    """Run ``script`` in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name + " is behind a wall")
sys.meta_path.insert(0, Blocked())
"""

IMPORT_ALL = """
import importlib, pkgutil
for part in {parts}:
    module = importlib.import_module("airflow_provider_modelarts." + part)
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        importlib.import_module(info.name)
"""


def test_client_and_labeling_load_where_there_is_no_airflow() -> None:
    script = BLOCK.format(blocked={"airflow"}) + IMPORT_ALL.format(parts=("client", "labeling"))
    run(script)


def test_the_emulator_loads_without_airflow_and_without_requests() -> None:
    run(BLOCK.format(blocked={"airflow", "requests"}) + IMPORT_ALL.format(parts=("emulator",)))


def test_what_a_dag_file_imports_stays_light() -> None:
    """By the real import machinery, since a light module may import a heavy one of our own."""
    parts = tuple(part for part in THIN if (PACKAGE / part).exists() or (PACKAGE / f"{part}.py").exists())
    heavy = {"requests", "urllib3", "starlette", "uvicorn", "sklearn", "numpy", "tenacity"}
    script = (
        "import sys, airflow.sdk\nfrom airflow.sdk import DAG, BaseOperator, BaseSensorOperator\n"
        "from airflow.triggers.base import BaseTrigger\n"
        "before = set(sys.modules)\n"
        + IMPORT_ALL.format(parts=parts)
        + IMPORT_ALL.format(parts=("example_dags",))
        + f"\nprint(sorted({heavy} & (set(sys.modules) - before)))"
    )
    assert run(script) == "[]"


def test_the_wall_of_a_fresh_process_holds() -> None:
    """The block above would find an import that is there."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked={"airflow"}) + "import airflow.sdk"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert "airflow is behind a wall" in done.stderr
