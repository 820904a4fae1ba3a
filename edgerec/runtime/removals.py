"""What is no candidate of a request, by cause: catalogue, caller, the policy's rules, what is known too well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from numbers import Real

from edgerec.bundle.columns import Parameter
from edgerec.bundle.policy import NOW
from edgerec.errors import ConfigError
from edgerec.runtime.engine import Int
from edgerec.runtime.lists import Removal
from edgerec.runtime.model import Model, Past, Request
from edgerec.runtime.store import NO_KIND

MS_PER_DAY = 86_400_000
MS_PER_HOUR = 3_600_000


def values_of(model: Model, request: Request) -> dict[str, Parameter]:
    """What the policy's conditions may name: the context, the user's columns and the time in ms."""
    given = {**(request.get("user") or {}), **(request.get("context") or {})}
    plain: dict[str, Parameter] = {}
    for name, value in given.items():
        if value is None or isinstance(value, bool | str):
            plain[name] = value
        elif isinstance(value, Real):  # numpy's numbers too
            plain[name] = float(value)
    return {**plain, NOW: model.now_ms(request.get("now"))}


def asked_out(
    model: Model,
    where: str | None,
    parameters: Mapping[str, Parameter] | None,
    exclude: Collection[str],
    request: Request,
) -> list[Removal]:
    """What is unavailable, excluded, or fails the policy's rules or the caller's condition; an item may stand twice.

    Raises:
        ConfigError: `where` is no condition, or one of its parameters has no value.
    """
    removed: list[Removal] = [("unavailable", model.unavailable)]
    if exclude:
        removed.append(("excluded", model.indices_of(exclude)))
    if model.policy.rules:
        values = values_of(model, request)
        for rule in model.policy.rules:
            name = "where" if rule.name == "where" else f"rule {rule.name}"
            removed.append((name, model.failing(rule.keep, values)))
    if where is not None:
        removed.append(("where", _failing(model, where, parameters or {})))
    return removed


def known_too_well(model: Model, past: Past, now_ms: int, shown_since: Callable[[int], Counter[str]]) -> list[Removal]:
    """What the user had lately, or was shown too often.

    Args:
        shown_since: in how many logged lists each item was since a time in ms.
    """
    removed: list[Removal] = []
    for seen in model.policy.seen:
        since = now_ms - int(seen.days * MS_PER_DAY) if seen.days is not None else -(2**62)
        hit = past.time_ms >= since
        if seen.kind is not None:
            hit &= (past.kinds >> model.encoder.binary.index(seen.kind)) & 1 == 1
        removed.append((f"seen {seen.kind or NO_KIND}", past.items[hit]))
    for cap in model.policy.caps:
        often = shown_since(now_ms - int(cap.hours * MS_PER_HOUR))
        found = model.indices_of([item for item, n in often.items() if n >= cap.shown])
        removed.append(("shown too often", found))
    return removed


def _failing(model: Model, where: str, parameters: Mapping[str, Parameter]) -> Int:
    condition = model.condition(where)
    if missing := [name for name in condition.parameters if name not in parameters]:
        raise ConfigError(f"where: no value for :{missing[0]}; give it in parameters")
    return model.failing(condition, parameters)
