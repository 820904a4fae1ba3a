"""Units of time. All times are milliseconds since 1970 UTC."""

from __future__ import annotations

from typing import Final

MS_PER_HOUR: Final[int] = 3_600_000
MS_PER_DAY: Final[int] = 86_400_000
