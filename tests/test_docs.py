"""The documents lead somewhere: rules, contract sections, quirks, tests and modules that are named do exist."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "airflow_provider_modelarts"
CODE = sorted(
    path
    for folder in (PACKAGE, REPOSITORY / "tests", REPOSITORY / "demo")
    for path in folder.rglob("*.py")
    if path != Path(__file__)  # it cites what is not there
)
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])

RULES = (REPOSITORY / "docs" / "design-rules.md").read_text(encoding="utf-8")
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACT = (REPOSITORY / "docs" / "contract" / "modelarts-api.md").read_text(encoding="utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

EXPECTED_RULES = [*(f"B{number}" for number in range(1, 8)), "B7a", *(f"B{number}" for number in range(8, 24))]

_NUMBERS = r"\d+(?:\.\d+)?(?:(?:, and |, | and | or | to )\d+(?:\.\d+)?)*"
_CITED_CONTRACT = re.compile(rf"\bcontract(?: section| chapter)? ({_NUMBERS})", re.IGNORECASE)
_CITED_QUIRK = re.compile(rf"\bquirks? ({_NUMBERS})", re.IGNORECASE)
_CITED_RULE = re.compile(r"\bB[1-9]\d?a?\b")
_NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_NAMED_OBJECT = re.compile(
    r"(?<![\w/.])((?:client|labeling|hooks|operators|sensors|triggers|emulator|utils|links)(?:\.\w+)+)"
)


def rules(text: str) -> dict[str, str]:
    """Return the text of each rule by its number."""
    parts = re.split(r"^### (B\d+a?)\. ", text, flags=re.MULTILINE)
    bodies = (re.split(r"^## ", body, flags=re.MULTILINE)[0] for body in parts[2::2])
    return dict(zip(parts[1::2], bodies, strict=True))


def cited_rules(text: str) -> set[str]:
    """Return the numbers of the rules that a text cites."""
    return set(_CITED_RULE.findall(text))


def cited_numbers(pattern: re.Pattern[str], text: str) -> set[str]:
    """Return the numbers that a pattern finds in a text, also across the lines of a docstring or a comment."""
    joined = re.sub(r"\s*\n\s*(?:# ?)?", " ", text)
    return {number for found in pattern.findall(joined) for number in re.findall(r"\d+(?:\.\d+)?", found)}


def missing_sections(text: str) -> set[str]:
    """Return the sections of the contract that a text cites and that are not there."""
    return cited_numbers(_CITED_CONTRACT, text) - set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", CONTRACT, re.MULTILINE))


def missing_quirks(text: str) -> set[str]:
    """Return the quirks that a text cites and that are not there."""
    table = re.split(r"^## ", CONTRACT.partition("\n## 9. ")[2], flags=re.MULTILINE)[0]
    return cited_numbers(_CITED_QUIRK, text) - set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of the functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def missing_tests(text: str) -> set[str]:
    """Return the tests that a text names and that are not there."""
    return {
        f"{path}::{name}"
        for path, name in _NAMED_TEST.findall(text)
        if not (REPOSITORY / path).is_file() or name not in functions(REPOSITORY / path)
    }


def exists(name: str) -> bool:
    """Whether a module, class, function or method of the package exists, by its dotted name."""
    place, parts = PACKAGE, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    file = place / f"{parts.pop(0)}.py" if parts and (place / f"{parts[0]}.py").is_file() else place / "__init__.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else []
    for part in parts:
        found = [
            node
            for node in body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return file.is_file()


def missing_objects(text: str) -> set[str]:
    """Return the modules, classes and functions that a text names and that are not there."""
    return {name for name in _NAMED_OBJECT.findall(text) if not exists(name)}


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


# --- the rules


def test_every_rule_is_there_once_and_in_order() -> None:
    assert re.findall(r"^### (B\d+a?)\. ", RULES, re.MULTILINE) == EXPECTED_RULES


@pytest.mark.parametrize("number", EXPECTED_RULES)
def test_a_rule_has_its_reason_and_tests_that_exist(number: str) -> None:
    text = rules(RULES)[number]
    assert "**Reason.**" in text
    assert _NAMED_TEST.search(text.partition("**Tests.**")[2])
    assert missing_tests(text) == set()


def test_every_cited_rule_is_in_the_document() -> None:
    texts = {relative(path): path.read_text(encoding="utf-8") for path in [*CODE, *PAGES]}
    cited = {path: cited_rules(text) - set(EXPECTED_RULES) for path, text in texts.items()}
    assert {path: numbers for path, numbers in cited.items() if numbers} == {}


# --- the contract


def test_every_cited_section_of_the_contract_is_there() -> None:
    cited = {relative(path): missing_sections(path.read_text(encoding="utf-8")) for path in [*CODE, *PAGES]}
    assert {path: numbers for path, numbers in cited.items() if numbers} == {}


def test_every_cited_quirk_is_there() -> None:
    cited = {relative(path): missing_quirks(path.read_text(encoding="utf-8")) for path in [*CODE, *PAGES]}
    assert {path: numbers for path, numbers in cited.items() if numbers} == {}


# --- modules, tests, links and commands


def test_every_module_class_and_function_of_the_architecture_exists() -> None:
    assert len(_NAMED_OBJECT.findall(ARCHITECTURE)) > 40
    assert missing_objects(ARCHITECTURE) == set()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_the_tests_and_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert missing_tests(text) == set()
    targets = re.findall(r"\]\(((?!https?://|#)[^)#]+)[^)]*\)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_uses_plain_words(page: Path) -> None:
    assert re.findall(r"\b(anew|meanwhile|strikes|bears|lets? nothing out|the books)\b", page.read_text("utf-8")) == []


def test_the_files_that_the_guide_names_exist() -> None:
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w./]+/[\w.]+\.(?:py|md|yaml)|[\w./]+/)`", guide)
    assert len(named) > 30
    assert [path for path in named if not (REPOSITORY / path).exists() and not (PACKAGE / path).exists()] == []


def test_the_files_that_the_makefile_names_exist() -> None:
    named = re.findall(r"\btests/[\w/]*test_\w+\.py\b", MAKEFILE)
    for folder in ("client", "labeling"):
        names = re.findall(rf"^{folder.upper()} := (.*)$", MAKEFILE, re.MULTILINE)[0]
        named += [f"tests/{folder}/test_{name}.py" for name in names.split()]
    assert len(named) > 15
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []


def test_every_document_at_the_top_goes_into_the_source_distribution() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    documents = {path.name for path in REPOSITORY.glob("*.md")} | {"LICENSE", "NOTICE", "Makefile", "docs", "tests"}
    assert documents <= set(included)
    assert settings["project"]["license-files"] == ["LICENSE", "NOTICE"]


# --- what is not there is found


def test_what_is_missing_is_found() -> None:
    assert cited_rules("One thing (B24), or B7a.") - set(EXPECTED_RULES) == {"B24"}
    assert missing_sections("see the contract\n    # 3.9, 4.1 and 13") == {"3.9", "13"}
    assert missing_quirks("quirks 3 and 99") == {"99"}
    assert missing_tests("`tests/test_docs.py::test_nothing`, `tests/nowhere.py::test_it`") == {
        "tests/test_docs.py::test_nothing",
        "tests/nowhere.py::test_it",
    }
    assert missing_objects("`labeling.policy.parse_policy` `labeling.policy.ParsePolicy` `client.nowhere`") == {
        "labeling.policy.ParsePolicy",
        "client.nowhere",
    }
