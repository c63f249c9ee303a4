"""The walls of docs/architecture.md: who may import whom, read from import statements and tried in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import airflow_provider_modelarts
from demo.environment import EXAMPLE_DAGS, REPOSITORY

PACKAGE = Path(airflow_provider_modelarts.__file__).parent
NAME = PACKAGE.name

THIN = ("operators", "sensors", "triggers", "links", "utils", "assets")
"""What a DAG file imports."""

# What a module of each part may import of our own package.
BELOW_OPERATORS = {"triggers", "links", "utils", "hooks", "labeling", "client", "assets"}
MAY_IMPORT = {
    "client": {"client"},
    "labeling": {"labeling", "client"},
    "hooks": {"hooks", "labeling", "client"},
    "assets": {"assets"},
    "utils": {"utils", "assets", "hooks", "labeling", "client"},
    "links": {"links", "hooks", "client"},
    "fs": {"fs", "hooks", "client"},
    "triggers": {"triggers", "utils", "hooks", "labeling", "client"},
    "operators": {"operators", *BELOW_OPERATORS},
    "sensors": {"sensors", "operators", *BELOW_OPERATORS},  # both read templates in the same way
    "task_groups": {"operators", "sensors", "hooks"},
    "plugins": {"plugins", "operators", *BELOW_OPERATORS},
    "emulator": {"emulator"},
    "get_provider_info": {"hooks"},  # the connection form, which imports nothing
    "example_dags": {*THIN, "hooks", "task_groups"},
}
# The parts of labeling, from the lowest floor to the highest: none imports a part of a higher floor.
LABELING_FLOORS = (
    {
        "audit",
        "drift",
        "filters",
        "label_equality",
        "label_set",
        "policy",
        "preconditions",
        "results",
        "stop_signal",
        "storage",
    },
    {"sample_table", "team_elements", "team_results"},
    {"proposals"},
    {"plan", "team_copies"},
    {"ledger"},
    {"apply", "evidence", "team_review"},
    {"copy_comments", "export", "quality", "team_mails", "team_samples", "team_task_creation", "undo"},
)
# What is known to be wrong. These tables may only shrink.
KNOWN_UPWARD: set[tuple[str, str]] = set()
KNOWN_TWICE: set[str] = set()
KNOWN_CIRCLES: tuple[set[str], ...] = ()
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
    paths = [*sorted(PACKAGE.rglob("*.py")), *sorted(EXAMPLE_DAGS.glob("*.py"))]
    return [path for path in paths if path != PACKAGE / "__init__.py"]


def name_of(path: Path) -> str:
    """Return the name of a module: within the package, or from the top of the repository."""
    base = PACKAGE if path.is_relative_to(PACKAGE) else REPOSITORY
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def part_of(path: Path) -> str:
    return name_of(path).partition(".")[0]


def imports_of(path: Path) -> set[str]:
    """Return the full names of everything that a module imports anywhere: in functions and for type checking, too."""
    return imported_names(path.read_text(encoding="utf-8"), f"{NAME}.{name_of(path)}")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    assert breaches(part_of(path), imports_of(path)) == set()


def test_every_part_has_a_rule() -> None:
    assert {part_of(path) for path in modules()} <= set(MAY_IMPORT)


# --- module by module: the floors of labeling, and circles


def import_graph() -> dict[str, set[str]]:
    """Return which modules of the package each of its modules imports, by their names within it."""
    paths = {name_of(path): path for path in modules() if path.is_relative_to(PACKAGE)}
    graph = {}
    for module, path in paths.items():
        names = {name.removeprefix(f"{NAME}.") for name in imports_of(path)}
        # "from package import module" names both; the package is meant only if something in it is no module.
        packages = {name.rpartition(".")[0] for name in names if name in paths}
        packages -= {name.rpartition(".")[0] for name in names if name not in paths}
        graph[module] = (names & set(paths)) - packages - {module}
    return graph


def floor_of(module: str) -> int:
    """Return the floor of a module of labeling."""
    part = module.split(".")[1]
    return next(floor for floor, parts in enumerate(LABELING_FLOORS) if part in parts)


def upward_imports(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the imports within labeling that lead to a higher floor."""
    return {
        (module, target)
        for module, targets in graph.items()
        for target in targets
        if module.startswith("labeling.") and target.startswith("labeling.") and floor_of(target) > floor_of(module)
    }


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules that import each other, by whatever detours."""
    reached = {module: _reachable(graph, module) for module in graph}
    found: list[set[str]] = []
    for module in sorted(graph):
        if module in reached[module] and not any(module in circle for circle in found):
            found.append({module, *(other for other in reached[module] if module in reached[other])})
    return found


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_every_part_of_labeling_has_its_floor() -> None:
    parts = {name_of(path).split(".")[1] for path in modules() if name_of(path).startswith("labeling.")}
    assert parts <= set().union(*LABELING_FLOORS)


def test_imports_within_labeling_point_down() -> None:
    assert upward_imports(import_graph()) - KNOWN_UPWARD == set()


def test_no_modules_import_each_other() -> None:
    found = circles(import_graph())
    assert [circle for circle in found if not any(circle <= known for known in KNOWN_CIRCLES)] == []


def names_of_two_classes() -> set[str]:
    """Return the names that two classes of the package have, apart from the emulator's: it shares nothing with them."""
    counts = Counter(
        node.name
        for path in modules()
        if part_of(path) != "emulator"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    return {name for name, count in counts.items() if count > 1}


def test_one_class_name_is_one_thing() -> None:
    assert names_of_two_classes() - KNOWN_TWICE == set()


def test_what_is_known_to_be_wrong_still_is() -> None:
    """Else take it out of the tables at the top of this file."""
    graph = import_graph()
    assert KNOWN_UPWARD - upward_imports(graph) == set()
    assert KNOWN_TWICE - names_of_two_classes() == set()
    assert [known for known in KNOWN_CIRCLES if known not in circles(graph)] == []


def test_a_circle_and_an_import_upward_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [{"a", "b", "c"}]
    assert upward_imports({"labeling.plan.builder": {"labeling.policy", "labeling.undo", "client"}}) == {
        ("labeling.plan.builder", "labeling.undo")
    }
    graph = import_graph()
    assert "client.validation" in graph["client.paging"]  # a name that it takes from there
    assert "client.redaction" in graph["client.transport.session"] | graph["client.transport.response"]


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
        ("triggers", "from airflow_provider_modelarts import operators", {f"{NAME}.operators"}),
        ("client", "import airflow_provider_modelarts.client.clock, airflowx", set()),
    ],
)
def test_a_breach_is_found(part: str, source: str, found: set[str]) -> None:
    assert breaches(part, imported_names(source, f"{NAME}.{part}.module")) == found


def begin(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=REPOSITORY)


def run(script: str) -> str:
    """Run ``script`` in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=600, cwd=REPOSITORY
    )
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
    module = importlib.import_module(part)
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        importlib.import_module(info.name)
"""


def import_all(*parts: str) -> str:
    """Return a script that imports all modules of parts of the package."""
    return IMPORT_ALL.format(parts=tuple(f"{NAME}.{part}" for part in parts))


def test_client_and_labeling_load_where_there_is_no_airflow() -> None:
    script = BLOCK.format(blocked={"airflow"}) + import_all("client", "labeling")
    run(script)


def test_the_emulator_loads_without_airflow_and_without_requests() -> None:
    run(BLOCK.format(blocked={"airflow", "requests"}) + import_all("emulator"))


def test_airflow_learns_of_the_provider_by_the_standard_library_alone() -> None:
    """Airflow does so in every process; of our own package, too, only data is loaded."""
    script = (
        f"import sys\nbefore = set(sys.modules)\nimport {NAME}.get_provider_info\nprint(*(set(sys.modules) - before))"
    )
    loaded = set(run(script).split())
    assert {name for name in loaded if name.startswith(NAME)} == {
        NAME,
        f"{NAME}.get_provider_info",
        f"{NAME}.hooks",
        f"{NAME}.hooks.connection_form",
    }
    assert {name.partition(".")[0] for name in loaded} - {NAME} <= sys.stdlib_module_names


def test_what_a_dag_file_imports_stays_light() -> None:
    """By the real import machinery, since a light module may import a heavy one of our own."""
    heavy = {"requests", "urllib3", "starlette", "uvicorn", "sklearn", "numpy", "tenacity"}
    script = (
        "import sys, airflow.sdk\nfrom airflow.sdk import DAG, BaseOperator, BaseSensorOperator\n"
        "from airflow.triggers.base import BaseTrigger\n"
        "before = set(sys.modules)\n"
        + import_all(*THIN)
        + IMPORT_ALL.format(parts=("example_dags",))
        + f"\nprint(sorted({heavy} & (set(sys.modules) - before)))"
    )
    assert run(script) == "[]"


def test_the_wall_of_a_fresh_process_holds() -> None:
    """The block above would find an import that is there."""
    done = begin(BLOCK.format(blocked={"airflow"}) + "import airflow.sdk")
    assert "airflow is behind a wall" in done.stderr
