"""What a device search may choose: widths, pruning, bits and kernel of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from edgerec.config import SIZES, Config, Scalar
from edgerec.devices import Profile
from edgerec.experiments.tuning.space import Values

CUTS = (0.0, 0.25, 0.5)
"""Shares of the hidden units that pruning removes."""
TABLES = ("int8", "int4", "pq")
"""How the item table is stored."""

KERNELS_OF = {"native": ("u8s8",), "onnxruntime": ("u8s8", "nbits8", "fp32"), "onnxruntime-web": ("u8s8", "fp32")}
"""Of the graphs, by what runs them; the native engine reads what the first one reads."""

Space: TypeAlias = Mapping[str, Sequence[Scalar]]
"""Values to choose from, by "section.key"."""


@dataclass(frozen=True)
class Widths:
    """Widths of the student that are tried, besides those of the settings."""

    dims: tuple[int, ...] = (8, 16, 24, 32, 48, 64)
    hidden: tuple[int, ...] = (16, 32, 64, 96, 128)


def space_of(config: Config, profile: Profile, widths: Widths | None = None) -> dict[str, list[Scalar]]:
    """The space for a device: only kernels that it can run."""
    widths = widths or Widths()
    dim, hidden, *_ = config.student.widths
    space: dict[str, list[Scalar]] = {
        "student.dim": sorted({*widths.dims, dim}),
        "student.hidden": sorted({*widths.hidden, hidden}),
        "pruning.hidden": list(CUTS),
        "pruning.heads": [0.0, 0.5],
        "quantization.table": list(TABLES),
        "quantization.kernel": list(KERNELS_OF[profile.runtime]),
    }
    if config.student.transitions:
        space["student.transitions"] = [0, config.student.transitions // 2, config.student.transitions]
    return space


def simplest(values: Values) -> Values:
    """The simplest settings that give the same bundle: float32 is never packed, and codebooks have one kernel."""
    if values["quantization.kernel"] == "fp32":
        return values | {"quantization.table": "int8"}
    if values["quantization.table"] == "pq":
        return values | {"quantization.kernel": "u8s8"}
    return values


def first_of(config: Config, space: Space) -> list[Values]:
    """The first trials: the widths of the settings, the named sizes, and the smallest bundle of the space."""
    first: list[Values] = []
    named = [SIZES[size][:2] for size in ("nano", "std", "small", "large")]
    for dim, hidden in dict.fromkeys([config.student.widths[:2], *named]):
        values: Values = {key: choices[0] for key, choices in space.items()}
        values |= {"student.dim": dim, "student.hidden": hidden, "pruning.hidden": 0.25}
        if config.student.transitions:
            values["student.transitions"] = config.student.transitions
        first.append(values)
    smallest: Values = {key: choices[0] for key, choices in space.items()}
    first.append(smallest | {"pruning.hidden": CUTS[-1], "quantization.table": TABLES[-1]})
    return [values for values in first if all(values[key] in choices for key, choices in space.items())]
