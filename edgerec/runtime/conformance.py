"""conformance.json: does this machine compute what the build machine computed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgerec.bundle import Bundle
from edgerec.errors import BundleError
from edgerec.runtime.engine import CONFORMANCE, Engine
from edgerec.runtime.onnx_file import Array

TOLERANCE = 2e-3
"""Absolute and relative; int8 kernels of different processors round differently."""


def check_conformance(bundle: Bundle, engine: Engine, most: int | None = None) -> int:
    """Run the bundle's own test requests, at most the first `most`, and return how many there are.

    A request is ``{"graph": "recommend.onnx" (the default), "inputs": {...}, "expect": {output: value}}``.
    Two items whose utilities differ by less than `TOLERANCE` may change places.
    Raises:
        BundleError: the first output that differs.
    """
    requests = bundle.json(CONFORMANCE).get("requests")
    if not isinstance(requests, list) or not requests:
        raise BundleError(f"{bundle.folder}: conformance.json holds no requests; build the bundle again")
    differs = first_difference(requests[:most], engine, str(bundle.folder))
    if differs is not None:
        raise BundleError(
            f"{bundle.folder}: {differs} here than where the bundle was built; "
            "do not use it on this device and report the processor"
        )
    return len(requests[:most])


def first_difference(requests: Sequence[Mapping[str, Any]], engine: Engine, source: str) -> str | None:
    """The first request to which an engine gives another answer than expected, and which output it is.

    Raises:
        BundleError: one of them is not what the format says; `source` names where they come from.
    """
    for number, request in enumerate(requests):
        try:
            name = _differs(request, engine)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(
                f"{source}: conformance request {number} is not valid ({error!r}); build the bundle again"[:400]
            ) from error
        if name is not None:
            return f"conformance request {number} gives another {name!r}"
    return None


def _differs(request: Mapping[str, Any], engine: Engine) -> str | None:
    """The first output that is not as expected."""
    expect = {name: np.asarray(value) for name, value in request["expect"].items()}
    got = engine.run(request.get("graph", "recommend.onnx"), request["inputs"])
    listed = "item" in expect and expect["item"].shape == got["item"].shape
    for name, value in expect.items():
        if name == "item":
            same = _same_items(expect, got)
        elif name == "probability" and listed:
            there = expect["item"] == got["item"]  # rows of items that changed places are of other items
            same = _close(value.reshape(len(there), -1)[there], got[name][there])
        else:
            same = _close(value, got[name])
        if not same:
            return str(name)
    return None


def _close(expect: Array, got: Array) -> bool:
    # The shape of an empty JSON list is not known.
    return expect.size == got.size and np.allclose(expect.ravel(), got.ravel(), TOLERANCE, TOLERANCE)


def _same_items(expect: dict[str, Array], got: dict[str, Array]) -> bool:
    value = expect.get("utility", expect.get("score"))
    expected, items = expect["item"], got["item"]
    if value is None or expected.shape != items.shape:
        return bool(np.array_equal(expected, items))
    moved = np.flatnonzero(expected != items)
    # An item that came in from below the last rank is compared with the last.
    utility = dict(zip(expected.tolist(), value.tolist(), strict=True))
    there = np.array([utility.get(i, value[-1]) for i in items[moved].tolist()])
    return bool(np.allclose(value[moved], there, TOLERANCE, TOLERANCE))
