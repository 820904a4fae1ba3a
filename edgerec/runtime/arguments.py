"""What a caller may give: times, ids, names. Whatever else is given is refused in one line."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from numbers import Integral, Rational, Real
from pathlib import Path
from typing import Final, TypeAlias, TypeGuard, cast

from edgerec.bundle.columns import Parameter
from edgerec.errors import ConfigError, DataError
from edgerec.runtime.events import Events
from edgerec.tasks.buffers import ints, plain
from edgerec.tasks.units import MS_PER_DAY

Time: TypeAlias = int | datetime | None
"""Milliseconds since 1970 UTC, or a datetime with a timezone; None is now."""
EARLIEST_MS: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Earlier times are seconds, or counters, that were mistaken for milliseconds: seconds of today are in January 1970."""
LATEST_MS: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
AHEAD_MS: Final = MS_PER_DAY
"""How far an event may lie in the future: timezones, and clocks that differ."""
MAX_NAME: Final = 1024
"""Characters of an id or of a name: longer ones would be stored, and read again with every list."""
MAX_PARTS: Final = 256
"""Values of one column."""
MAX_TEXT: Final = 4096
"""Characters of a value of the context."""


def milliseconds(time: object, what: str, latest_ms: int = LATEST_MS, earliest_ms: int = EARLIEST_MS) -> int:
    """Since 1970 UTC.

    Raises:
        ConfigError: not a time from `earliest_ms` to `latest_ms`, or a datetime without a timezone.
    """
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ConfigError(f"{what} {time.isoformat()} has no timezone; give one, or milliseconds since 1970 UTC")
        ms = time.timestamp() * 1000
    elif is_number(time):
        ms = float(time)
    else:
        known = "milliseconds since 1970 UTC, or a datetime with a timezone"
        raise ConfigError(f"{what} must be {known}; got {short(time)}")
    if not earliest_ms <= ms <= latest_ms:
        raise ConfigError(f"{what} {short(time)} {_implausible(ms, latest_ms)}")
    return int(ms)


def item_id(item: object) -> str:
    """An item's id.

    Raises:
        DataError: it is not a string, empty, too long, or holds half of a character.
    """
    if isinstance(item, str) and 0 < len(item) <= MAX_NAME and _is_unicode(item):
        return item
    if isinstance(item, str) and len(item) > MAX_NAME:
        raise DataError(f"an item's id has at most {MAX_NAME} characters; got {len(item)}")
    raise DataError(f"an item is named by its id, a string that is not empty; got {short(item)}")


def item_ids(items: object, what: str) -> list[str]:
    """Any collection of ids, also an array.

    Raises:
        ConfigError: one string, which is no collection of ids, or something in it is not an id.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise ConfigError(f"{what} must be a list of ids; got {short(items)}" + ("; write [ID]" if items else ""))
    told = plain(items)
    ids = list(told) if isinstance(told, Iterable) else [told]
    for item in ids:
        if not isinstance(item, str):
            raise ConfigError(f"{what} must be a list of ids, which are strings; it holds {short(item)}")
    return ids


def name(value: object, what: str) -> str:
    """The name of a profile, a list or an event; it may be empty.

    Raises:
        ConfigError: it is not a string, too long, or holds half of a character.
    """
    if isinstance(value, str) and len(value) <= MAX_NAME and _is_unicode(value):
        return value
    if isinstance(value, str) and len(value) > MAX_NAME:
        raise ConfigError(f"{what} has at most {MAX_NAME} characters; got {len(value)}")
    raise ConfigError(f"{what} must be a string; got {short(value)}")


def values(given: object, what: str) -> Mapping[str, object]:
    """Values by column; a column with several values in a cell may have a list. Other things are taken as their text.

    Raises:
        ConfigError: not a mapping, a text in it is too long, a list in it holds more than texts and numbers, or
            something has no text.
    """
    if given is None:
        return {}
    told: dict[str, object] = {}
    for column, value in mapping(given, what).items():
        if is_several(value):
            if len(value) > MAX_PARTS:
                raise ConfigError(f"{what}: {column} has at most {MAX_PARTS} values; got {len(value)}")
            for part in value:
                if not (part is None or isinstance(part, str | Real)):
                    raise ConfigError(f"{what}: {column} must be a list of texts or numbers; it holds {short(part)}")
        elif not (value is None or isinstance(value, str | Real)):
            value = _text(value, f"{what}: {column}")
        for part in value if is_several(value) else [value]:
            if isinstance(part, str) and len(part) > MAX_TEXT:
                raise ConfigError(f"{what}: {column} has at most {MAX_TEXT} characters; got {len(part)}")
            if _is_too_large(part):
                raise ConfigError(f"{what}: {column} is larger than any number that can be used; got {short(part)}")
        told[column] = value
    return told


def is_several(value: object) -> TypeGuard[Collection[object]]:
    """Whether it is a list of values, as columns with several in a cell take."""
    return isinstance(value, list | tuple | set | frozenset) or _is_array(value)


def mapping(given: object, what: str) -> Mapping[str, object]:
    """Something by name.

    Raises:
        ConfigError: it is not a mapping, or a name in it is not a string.
    """
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(f"{what} must be values by name, such as {{'a': 1}}; got {short(given)}")
    return given


def number(value: object, what: str, least: float, most: float) -> float:
    """A number in a range.

    Raises:
        ConfigError: it is something else.
    """
    if not is_number(value) or not least <= float(value) <= most:
        raise ConfigError(f"{what} must be a number between {least:g} and {most:g}, got {short(value)}")
    return float(value)


def is_number(value: object) -> TypeGuard[Real]:
    """Whether it is a finite number, and one that a float holds."""
    return isinstance(value, Real) and not isinstance(value, bool) and _fits(value)


def parameters(given: object) -> Mapping[str, Parameter]:
    """Values of a condition's parameters.

    Raises:
        ConfigError: one is neither a text nor a number.
    """
    if given is None:
        return {}
    for key, value in mapping(given, "parameters").items():
        if not (value is None or isinstance(value, str | Real)):
            raise ConfigError(f"parameters: {key} must be a text or a number, got {short(value)}")
        if _is_too_large(value):
            raise ConfigError(f"parameters: {key} is larger than any number that can be used; got {short(value)}")
    return cast(Mapping[str, Parameter], given)


def condition(given: object) -> str | None:
    """The text of a condition, or None.

    Raises:
        ConfigError: it is something else.
    """
    if given is None or isinstance(given, str):
        return given
    raise ConfigError(f"where must be a condition, such as 'price < 20'; got {short(given)}")


def flag(given: object, what: str) -> bool:
    """Whether something is to be done.

    Raises:
        ConfigError: it is neither true nor false, as an array is.
    """
    try:
        return bool(given)
    except Exception:  # whatever an object raises
        raise ConfigError(f"{what} must be True or False, got {short(given)}") from None


def path(given: object, what: str) -> Path:
    """Where a file or a folder is, or will be.

    Raises:
        ConfigError: no system takes it for the path of one.
    """
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"{what} must be a path; got {short(given)}")
    try:
        found = Path(given)
        found = found if found.name else found.absolute()
        found.stat()
    except (TypeError, ValueError):  # of bytes; with a zero, or half of a character
        raise ConfigError(f"{what} must be a path; got {short(given)}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"{what} is longer than a path can be; got {short(given)}") from None
    if not (given and found.name):
        raise ConfigError(f"{what} must name a file or a folder of its own; got {short(given)}")
    return found


def events(history: object) -> Events | None:
    """A history that a caller gives.

    Raises:
        ConfigError: it is not made of `Events`, or a time is not plausible; see `milliseconds`.
    """
    if history is None:
        return None
    if not isinstance(history, Events):
        raise ConfigError(f"history must be edgerec.runtime.Events, got {short(history)}")
    item = history.item
    try:
        kind, times = ints(history.kind), list(plain(history.time_ms))
        indices = ints(plain(item)) if _is_array(item) and len(item) and isinstance(item[0], Integral) else None
    except (TypeError, ValueError, OverflowError):
        raise ConfigError("history: kind must be whole numbers, and time_ms milliseconds since 1970 UTC") from None
    ids = item_ids(item, "history: item") if indices is None else indices
    if not len(ids) == len(kind) == len(times):
        raise ConfigError("history: item, kind and time_ms must have equal length")
    plausible = (
        time if type(time) is int and EARLIEST_MS <= time <= LATEST_MS else milliseconds(time, "history: time_ms")
        for time in times
    )
    return Events(ids, kind, ints(plausible))


def whole(value: object, what: str) -> int:
    """A whole number of at least 1.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{what} must be a whole number of at least 1, got {short(value)}")
    if value < 1:
        raise ConfigError(f"{what} must be at least 1, got {short(value)}")
    return int(value)


def _is_array(value: object) -> bool:
    """Of the standard library or of another package, with one dimension."""
    return hasattr(value, "tolist") and getattr(value, "ndim", 1) == 1


def _implausible(ms: float, latest_ms: int) -> str:
    if EARLIEST_MS <= 1000 * ms <= latest_ms:
        return "is in seconds; give milliseconds since 1970 UTC"
    if ms < EARLIEST_MS:
        return "is before 1990; give milliseconds since 1970 UTC"
    latest = datetime.fromtimestamp(latest_ms / 1000, UTC).isoformat(timespec="minutes")
    return f"is in the future (after {latest}); give milliseconds since 1970 UTC"


def _fits(value: Real) -> bool:
    """Whether a float holds it."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_too_large(value: object) -> bool:
    """Whether it is a whole number that no float holds."""
    return isinstance(value, Rational) and not _fits(value)


def _is_unicode(value: str) -> bool:
    """Whether it can be stored: half of a character cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: object, what: str) -> str:
    try:
        return str(value)
    except Exception:  # whatever an object raises
        raise ConfigError(f"{what} must be a text or a number, got {short(value)}") from None


def short(value: object) -> str:
    """A value, for an error message."""
    try:
        text = repr(value)
    except Exception:  # whatever an object raises
        # Python prints no number of thousands of digits.
        return "one of thousands of digits" if isinstance(value, Real) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
