"""What others may use of the runtime says what it is."""

import inspect

import pytest

import edgerec.runtime


@pytest.mark.parametrize("name", edgerec.runtime.__all__)
def test_every_exported_name_and_its_public_methods_have_a_docstring(name):
    exported = getattr(edgerec.runtime, name)
    methods = [value for key, value in vars(exported).items() if not key.startswith("_") and inspect.isroutine(value)]
    assert all(inspect.getdoc(each) for each in (exported, *methods))


def test_exported_names_are_sorted_and_unique():
    assert edgerec.runtime.__all__ == sorted(set(edgerec.runtime.__all__))
