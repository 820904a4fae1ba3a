"""Packages import downwards only: each may import those above it in the table of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgerec"
ORDER = re.findall(r"^\| `(\w+)(?:\.py)?` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)


def imported(path: Path) -> Iterator[str]:
    """The packages of edgerec that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("edgerec."))


def test_the_table_names_every_package_once():
    packages = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert sorted(ORDER) == sorted(packages - {"__init__", "__main__"})


@pytest.mark.parametrize("name", ORDER)
def test_a_package_imports_only_those_above_it(name):
    modules = [PACKAGE / f"{name}.py", *(PACKAGE / name).rglob("*.py")]
    allowed = {*ORDER[: ORDER.index(name) + 1], "__version__"}
    climbs = {
        (path.name, other) for path in modules if path.exists() for other in imported(path) if other not in allowed
    }

    assert not climbs


@pytest.mark.parametrize("name", ORDER[: ORDER.index("stages")])
def test_a_library_package_takes_sections_of_the_settings_not_all_of_them(name):
    """`data.prepare` is the one that needs most of them: what a dataset is made of."""
    whole = re.compile(r"from edgerec\.config(?:\.whole)? import (?:\([^)]*|[^\n]*)\bConfig\b")
    takers = {path.stem for path in (PACKAGE / name).rglob("*.py") if whole.search(path.read_text("utf-8"))}

    assert takers <= ({"prepare"} if name == "data" else {"__init__"} if name == "config" else set())


def test_a_class_name_means_one_thing():
    trees = (ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py"))
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))

    assert [name for name, times in names.items() if times > 1] == []
