"""conformance.json: does this machine compute what the build machine computed?"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from numbers import Real
from typing import Any

from edgerec.bundle import Bundle
from edgerec.errors import BundleError
from edgerec.runtime.engine import CONFORMANCE, Engine
from edgerec.tasks.buffers import Matrix

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
    expect = request["expect"]
    got = engine.run(request.get("graph", "recommend.onnx"), request["inputs"])
    expected, items = expect.get("item", ()), list(got.get("item", ()))
    # Rows of items that changed places are of other items.
    there = [a == b for a, b in zip(expected, items, strict=True)] if len(expected) == len(items) else []
    for name, value in expect.items():
        if name == "item":
            same = _same_items(expect, items)
        elif name == "probability" and there:
            same = len(value) == len(there) and _close(list(compress(value, there)), list(compress(got[name], there)))
        else:
            same = _close(value, got[name])
        if not same:
            return str(name)
    return None


def _close(expect: Any, got: Any) -> bool:
    """Of numbers in lists in lists, or of one number."""
    a, b = list(_numbers(expect)), list(_numbers(got))
    return len(a) == len(b) and all(map(_near, a, b))


def _near(expect: float, got: float) -> bool:
    return expect == got or abs(expect - got) <= TOLERANCE + TOLERANCE * abs(got)


def _numbers(values: Any) -> Iterator[float]:
    if isinstance(values, list | array | Matrix):
        for part in values:
            yield from _numbers(part)
    elif isinstance(values, Real):
        yield float(values)
    else:
        raise TypeError(f"{values!r:.40} is not a number")


def _same_items(expect: Mapping[str, Any], items: Sequence[int]) -> bool:
    expected, value = list(expect["item"]), expect.get("utility", expect.get("score"))
    if value is None or len(expected) != len(items):
        return expected == items
    # An item that came in from below the last rank is compared with the last.
    utility = dict(zip(expected, value, strict=True))
    moved = [
        (own, utility.get(item, value[-1])) for e, item, own in zip(expected, items, value, strict=True) if e != item
    ]
    return all(_near(own, other) for own, other in moved)
