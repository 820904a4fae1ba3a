"""What packages say that others may use."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from tools import docs

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.with_suffix("").relative_to(ROOT).parts).removesuffix(".__init__")
    for path in (ROOT / "edgerec").rglob("*.py")
    if re.search(r"^__all__", path.read_text("utf-8"), re.MULTILINE)
)


def test_the_packages_that_apps_use_say_what_is_public():
    used = ("", ".bundle", ".config", ".devices", ".runtime", ".serve", ".ship", ".tasks", ".errors", ".files")
    assert {f"edgerec{name}" for name in used} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_there_is_listed_once_and_says_what_it_is(name):
    module = import_module(name)
    things = {public: getattr(module, public, None) for public in module.__all__}

    assert len(things) == len(module.__all__)
    assert [public for public, thing in things.items() if thing is None] == []
    explained = (thing for thing in things.values() if inspect.isclass(thing) or inspect.isfunction(thing))
    assert [thing.__name__ for thing in explained if not inspect.getdoc(thing)] == []


def test_the_python_page_describes_public_names_and_all_of_the_runtime():
    page = docs.python()

    assert [
        (m, name) for m, names in docs.PYTHON.items() for name in names if name not in import_module(m).__all__
    ] == []
    assert [n for n in import_module("edgerec.runtime").__all__ if not re.search(rf"\b{n}\b", page)] == []


def test_an_unknown_name_of_the_bundle_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        import_module("edgerec.bundle").nothing  # noqa: B018
