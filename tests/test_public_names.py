"""What packages say that others may use."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "package", ["bundle", "devices", "metrics", "ship", "tasks", "bench.measure", "errors", "files"]
)
def test_every_public_name_is_there_and_listed_once(package):
    module = import_module(f"edgerec.{package}")
    names = module.__all__

    assert all(getattr(module, name, None) is not None for name in names)
    assert len(set(names)) == len(names)


def test_an_unknown_name_of_the_bundle_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        import_module("edgerec.bundle").nothing  # noqa: B018
