"""Which items are not candidates of a request, by cause: catalogue, caller, policy, seen or shown before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import NamedTuple

from edgerec.bundle.columns import Parameter
from edgerec.bundle.policy import NOW
from edgerec.errors import ConfigError
from edgerec.runtime.events import NO_KIND
from edgerec.runtime.logged_lists import EVER
from edgerec.runtime.model import EncodedHistory, Model, RequestArguments
from edgerec.runtime.selection import Removal
from edgerec.tasks.buffers import Ints, ints
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR


class Filters(NamedTuple):
    """What a caller leaves out of a list; see `Recommender.recommend`."""

    where: str | None = None
    parameters: Mapping[str, Parameter] | None = None
    exclude: Collection[str] = ()


def policy_values(model: Model, request: RequestArguments) -> dict[str, Parameter]:
    """What the policy's conditions may name: the context, the user's columns and the time in ms."""
    given = {**(request.get("user") or {}), **(request.get("context") or {})}
    plain: dict[str, Parameter] = {}
    for name, value in given.items():
        if value is None or isinstance(value, bool | str):
            plain[name] = value
        elif isinstance(value, Real):  # numpy's numbers too
            plain[name] = float(value)
    return {**plain, NOW: model.now_ms(request.get("now"))}


def filtered(model: Model, filters: Filters, request: RequestArguments) -> list[Removal]:
    """What is unavailable, excluded, or fails the policy's rules or the caller's condition; an item may stand twice.

    Raises:
        ConfigError: `where` is not a valid condition, or one of its parameters has no value.
    """
    removed: list[Removal] = [("unavailable", model.unavailable)]
    if filters.exclude:
        removed.append(("excluded", model.indices_of(filters.exclude)))
    if model.policy.rules:
        values = policy_values(model, request)
        for rule in model.policy.rules:
            name = "where" if rule.name == "where" else f"rule {rule.name}"
            removed.append((name, model.failing(rule.keep, values)))
    if filters.where is not None:
        removed.append(("where", _failing(model, filters.where, filters.parameters or {})))
    return removed


def seen_or_capped(
    model: Model, history: EncodedHistory, now_ms: int, how_often: Callable[[int], Counter[str]]
) -> list[Removal]:
    """What the user had lately, or was shown too often, by the policy.

    Args:
        how_often: in how many logged lists each item was since a time in ms.
    """
    removed: list[Removal] = []
    for seen in model.policy.seen:
        since_ms = now_ms - int(seen.days * MS_PER_DAY) if seen.days is not None else EVER
        bit = 0 if seen.kind is None else 1 << model.encoder.binary.index(seen.kind)
        events = zip(history.items, history.kinds, history.time_ms, strict=True)
        items = [i for i, kind, at in events if at >= since_ms and (seen.kind is None or kind & bit)]
        removed.append((f"seen {seen.kind or NO_KIND}", ints(items)))
    for cap in model.policy.caps:
        counts = how_often(now_ms - int(cap.hours * MS_PER_HOUR))
        shown = model.indices_of([item for item, n in counts.items() if n >= cap.shown])
        removed.append(("shown too often", shown))
    return removed


def _failing(model: Model, where: str, parameters: Mapping[str, Parameter]) -> Ints:
    condition = model.condition(where)
    if missing := [name for name in condition.parameters if name not in parameters]:
        raise ConfigError(f"where: no value for :{missing[0]}; give it in parameters")
    return model.failing(condition, parameters)
