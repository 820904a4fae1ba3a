"""A device profile: what a bundle may cost on its target.

A profile is one TOML file; all keys are required::

    about = "Mini PC behind a shop's touch screen, x86-64 of 2018 or later"
    cores = 4                      # physical cores
    threads = 1                    # threads of one recommend(); the app needs the others
    instruction_set = "avx2"       # what the INT8 kernels may use
    kernel = "u8s8"                # how the graphs multiply by the item table, see KERNELS
    runtime = "native"             # what runs a bundle, see RUNTIMES
    opset = 18                     # the newest operator set that the runtime supports

    [memory_bandwidth_gb_s]        # what one core reads, GB/s of 10^9 bytes; limits a scan of the table
    value = 8.0
    basis = "estimated"            # or "measured"
    source = "where the figure comes from"

    [core_speed]                   # how fast one core is; a core of server-x86 has 1
    value = 0.3
    basis = "estimated"
    source = "where the figure comes from"

    [budget.bundle_mb]             # also peak_ram_mb, p95_ms, cold_start_ms
    limit = 25.0                   # in the unit that the name says; MB = 10^6 bytes
    basis = "estimated"            # or "measured"
    source = "where the figure comes from"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from edgerec.errors import ConfigError, deprecated

KERNELS = ("u8s8", "nbits8", "fp32")
"""How a graph multiplies by the item table: u8s8 is INT8 for every device, nbits8 INT8 for large tables on x86, and
fp32 float32."""
RUNTIMES = ("native", "onnxruntime", "onnxruntime-web")
"""What runs a bundle on a device: the native engine, onnxruntime by the bundle's graphs, or a browser, in which the
engine is WebAssembly."""
BASES = ("measured", "estimated")

_PACKAGE = Path(__file__).parent
# In a wheel the profiles are in the package, in a source tree beside it.
_FOLDERS = (_PACKAGE / "profiles", _PACKAGE.parents[1] / "devices")


@dataclass(frozen=True)
class Fact:
    """A property of the device; `basis` and `source` as of a `Figure`."""

    value: float
    basis: str
    source: str


@dataclass(frozen=True)
class Figure:
    """One limit: `basis` is "measured" or "estimated", `source` says where the figure comes from."""

    limit: float
    basis: str
    source: str


@dataclass(frozen=True)
class Budget:
    """Upper limits for one bundle on the device.

    Attributes:
        bundle_mb: size on disk, MB of 10^6 bytes, without catalog.sqlite, whose content is the shop's choice.
        peak_ram_mb: peak resident memory of a process that only recommends.
        p95_ms: 95th percentile of one recommend() with a warm session.
        cold_start_ms: from process start to the first result.
    """

    bundle_mb: Figure
    peak_ram_mb: Figure
    p95_ms: Figure
    cold_start_ms: Figure


@dataclass(frozen=True)
class Profile:
    """A target device; the keys of its file are described at the top of this module."""

    name: str
    about: str
    cores: int
    threads: int
    instruction_set: str
    kernel: str
    runtime: str
    opset: int
    memory_bandwidth_gb_s: Fact
    core_speed: Fact
    budget: Budget

    def to_json(self) -> dict[str, Any]:
        """The manifest's "device"; its keys are part of the bundle's format."""
        return {"body" if name == "kernel" else name: value for name, value in asdict(self).items()}


def load_profile(name: str | Path) -> Profile:
    """The profile of a known device, or of the TOML file at a path.

    Raises:
        ConfigError: no such profile (the message names the nearest), or a key is missing, unknown or of the wrong type.
    """
    path = Path(name)
    if path.suffix != ".toml":
        known = _known()
        if str(name) not in known:
            near = [n for n in known if str(name) in n] or difflib.get_close_matches(str(name), known, 1)
            guess = f", did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"no device {str(name)!r}{guess} (known: {', '.join(known)}; or give the path of a .toml file)"
            )
        path = known[str(name)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    return _profile(path, values)


def list_profiles() -> list[Profile]:
    """All known profiles by name."""
    return [load_profile(name) for name in _known()]


def _known() -> dict[str, Path]:
    folder = next((f for f in _FOLDERS if f.is_dir()), None)
    return {p.stem: p for p in sorted(folder.glob("*.toml"))} if folder else {}


def _profile(path: Path, values: Mapping[str, Any]) -> Profile:
    if "body" in values:
        deprecated("body", "kernel", path)
        values = {"kernel": values["body"], **{key: value for key, value in values.items() if key != "body"}}
    section = _section(path, Profile, {"name": path.stem, **values})
    budget = _section(path, Budget, section["budget"], "budget")
    figures = {k: _figure(path, k, v) for k, v in budget.items()}
    facts = {name: _fact(path, name, section[name]) for name in ("memory_bandwidth_gb_s", "core_speed")}
    profile = Profile(**{**section, **facts, "budget": Budget(**figures)})
    for key, known in (("kernel", KERNELS), ("runtime", RUNTIMES)):
        if getattr(profile, key) not in known:
            raise ConfigError(f"{path}: {key} must be one of {', '.join(known)}, got {getattr(profile, key)!r}")
    if (profile.kernel, profile.runtime) == ("nbits8", "onnxruntime-web"):
        raise ConfigError(f"{path}: kernel nbits8 is many times slower than u8s8 in a browser; set kernel = 'u8s8'")
    if profile.runtime == "native" and profile.kernel != "u8s8":
        raise ConfigError(f"{path}: the native engine has one kernel; set kernel = 'u8s8', or runtime = 'onnxruntime'")
    if not 1 <= profile.threads <= profile.cores:
        raise ConfigError(f"{path}: threads must be between 1 and cores = {profile.cores}, got {profile.threads}")
    return profile


def _figure(path: Path, name: str, values: Mapping[str, Any]) -> Figure:
    figure = Figure(**_section(path, Figure, values, f"budget.{name}"))
    if figure.basis not in BASES or not figure.limit > 0:
        raise ConfigError(f"{path}: [budget.{name}] needs limit > 0 and basis = {' or '.join(BASES)}")
    return figure


def _fact(path: Path, name: str, values: Mapping[str, Any]) -> Fact:
    fact = Fact(**_section(path, Fact, values, name))
    if fact.basis not in BASES or not fact.value > 0:
        raise ConfigError(f"{path}: [{name}] needs value > 0 and basis = {' or '.join(BASES)}")
    return fact


def _section(path: Path, kind: type, values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Check keys and types of one TOML table against the fields of a dataclass."""
    where = f"{path}: [{section}]" if section else f"{path}:"
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            raise ConfigError(f"{where} has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name in names:
        if name not in values:
            raise ConfigError(f"{where} needs the key {name!r}")
        expected: tuple[type, ...] = {str: (str,), int: (int,), float: (int, float)}.get(hints[name], (dict,))
        if not isinstance(values[name], expected) or isinstance(values[name], bool):
            raise ConfigError(f"{where} {name} must be {expected[-1].__name__}, got {values[name]!r}")
    return dict(values)
