"""The house rules about code: who may import whom, and what a module looks like."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("graph", "domain", "jobs", "db")
SOURCES = [ROOT / "bots.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
EVERYTHING = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base_service", "shared"}
LONGEST = 400

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def test_imports_follow_the_arrows() -> None:
    """The contracts are in pyproject.toml."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 -- a program of ours
    assert done.returncode == 0, done.stdout


def test_no_module_is_a_bag() -> None:
    assert [path for path in EVERYTHING if VAGUE & {path.stem, path.parent.name}] == []


def test_packages_hold_no_logic() -> None:
    assert [path for path in EVERYTHING if path.name == "__init__.py" and path.read_text().strip()] == []


def test_every_folder_of_modules_is_a_package() -> None:
    assert [path for path in EVERYTHING if path.parent != ROOT and not path.with_name("__init__.py").exists()] == []


def test_no_file_is_too_long() -> None:
    """Past this, a module becomes a package, split by verb."""
    sources = [path for path in SOURCES if "versions" not in path.parts]
    assert {path.name: lines for path in sources if (lines := len(path.read_text().splitlines())) > LONGEST} == {}


@pytest.mark.parametrize("word", [r"\bTODO\b", r"\bFIXME\b", r"\bXXX\b", r"\bbreakpoint\("])
def test_nothing_is_left_lying_about(word: str) -> None:
    assert [path for path in SOURCES if re.search(word, path.read_text())] == []


def test_only_the_terminal_is_printed_to() -> None:
    printing = [path for path in SOURCES if any(map(is_print, ast.walk(ast.parse(path.read_text()))))]
    assert printing == [ROOT / "jobs" / "up.py"]


def test_what_is_public_says_what_a_caller_needs_to_know() -> None:
    """Modules, public classes, and public functions and methods; not resolvers, whose description is the schema's."""
    assert [f"{path.relative_to(ROOT)}: {name}" for path in SOURCES for name in undocumented(path)] == []


def test_private_names_stay_in_their_module() -> None:
    """Of our own packages; a leading underscore in tests is between a test and what it tests."""
    taken = [
        f"{path.relative_to(ROOT)}: {alias.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert taken == []


def undocumented(path: Path) -> list[str]:
    module = ast.parse(path.read_text())
    empty = path.name == "__init__.py" or "versions" in path.parts
    found = [] if empty or ast.get_docstring(module) else ["the module"]
    found += [node.name for node in definitions(module) if lacks(node)]
    for owner in definitions(module):
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_"):
            found += [f"{owner.name}.{node.name}" for node in definitions(owner) if lacks(node)]
    return found


def definitions(node: ast.Module | ast.ClassDef) -> list[Definition]:
    return [child for child in node.body if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]


def lacks(node: Definition) -> bool:
    if node.name.startswith("_") or ast.get_docstring(node) or node.name == "upgrade":
        return False
    if isinstance(node, ast.ClassDef) and {"TypedDict"} & names(node.bases):  # its module says whose payloads these are
        return False
    return not names(node.decorator_list) & {"strawberry", "mutation", "watched"}


def names(expressions: list[ast.expr]) -> set[str]:
    return {node.id for expression in expressions for node in ast.walk(expression) if isinstance(node, ast.Name)}


def is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
