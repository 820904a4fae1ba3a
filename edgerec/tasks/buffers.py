"""Numbers side by side in memory, as an engine reads and writes them, without numpy.

``array("q")`` holds int64, ``array("f")`` float32, ``array("d")`` float64. numpy reads them, and `Matrix`, in place by
``np.asarray(buffer)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, overload

__all__ = ["AnyArray", "Doubles", "Floats", "Ints", "Matrix", "doubles", "floats", "ints", "plain"]

Ints: TypeAlias = "array[int]"
"""int64, or int32 where it is said."""
Floats: TypeAlias = "array[float]"
"""float32."""
Doubles: TypeAlias = "array[float]"
"""float64."""


class AnyArray(Protocol):
    """An array with one dimension, of the standard library, numpy or another package."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __getitem__(self, at: Any, /) -> Any: ...
    def tolist(self) -> Any:
        """As a list of Python's own numbers."""


def ints(values: Iterable[int] = ()) -> Ints:
    """As int64; what is already such an array stays.

    Raises:
        TypeError: one is not a whole number. OverflowError: one does not fit.
    """
    return values if isinstance(values, array) and values.typecode == "q" else array("q", plain(values))


def floats(values: Iterable[float] = ()) -> Floats:
    """As float32, rounded; what is already such an array stays."""
    return values if isinstance(values, array) and values.typecode == "f" else array("f", plain(values))


def doubles(values: Iterable[float] = ()) -> Doubles:
    """As float64; what is already such an array stays."""
    return values if isinstance(values, array) and values.typecode == "d" else array("d", plain(values))


def plain(values: Iterable[Any]) -> Iterable[Any]:
    """Python's own numbers, in place of those of numpy or of another package that has arrays with `tolist`."""
    return values.tolist() if hasattr(values, "tolist") else values


class Matrix(Sequence["array[float]"]):
    """A table of float32: rows of equal width, one after another in `values`."""

    __slots__ = ("_size", "values", "width")

    def __init__(self, values: Floats, width: int, size: int | None = None) -> None:
        """`size`: number of rows, needed where `width` may be 0."""
        self.values, self.width = values, width
        self._size = size if size is not None else len(values) // width if width else 0

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> Floats: ...
    @overload
    def __getitem__(self, at: slice) -> Matrix: ...
    def __getitem__(self, at: int | slice) -> Floats | Matrix:
        if isinstance(at, slice):
            return self.take(range(self._size)[at])
        at = range(self._size)[at]  # as of any sequence: from the end where it is negative, or an IndexError
        return self.values[at * self.width : (at + 1) * self.width]

    def __iter__(self) -> Iterator[Floats]:
        return (self.values[at * self.width : (at + 1) * self.width] for at in range(self._size))

    def take(self, at: Sequence[int]) -> Matrix:
        """The rows at these positions."""
        chosen = array("f")
        for position in at:
            chosen += self.values[position * self.width : (position + 1) * self.width]
        return Matrix(chosen, self.width, len(at))

    def tolist(self) -> list[list[float]]:
        """As lists."""
        return [row.tolist() for row in self]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """For numpy, which is there when this is called: float32 (rows, width), in place."""
        import numpy as np

        return np.array(self.values, dtype or np.float32, copy=copy).reshape(self._size, self.width)
