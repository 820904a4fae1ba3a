"""Units of time in milliseconds, the unit of every time in a log, a store and a request."""

from __future__ import annotations

from typing import Final

MS_PER_HOUR: Final[int] = 3_600_000
MS_PER_DAY: Final[int] = 24 * MS_PER_HOUR
