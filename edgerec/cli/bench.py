"""`edgerec bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import BundleArgument

if TYPE_CHECKING:
    from edgerec.bench.measure import Measured
    from edgerec.devices import Profile

__all__ = ["bench"]


def bench(
    bundle: BundleArgument,
    device: Annotated[
        str | None, typer.Option(help="Whose budget and threads count, or a .toml file; by default the bundle's own.")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Another bundle, measured in turn with this one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure size, memory, cold start and speed here, against a device's budget; exit code 1 where it is exceeded."""
    from edgerec.bench.measure import measure, verdicts
    from edgerec.errors import QualityError

    profile = _profile(bundle, device)
    bundles = [bundle] if compare is None else [bundle, compare]
    found = measure(bundles, profile.threads)
    kept = verdicts(found[0], profile)
    if as_json:
        budget = {name: {"limit": at, "measured": value, "kept": ok} for name, (at, value, ok) in kept.items()}
        names = [str(b) for b in bundles]
        values: list[Any] = [{"bundle": n, **m.to_json()} for n, m in zip(names, found, strict=True)]
        print_json({"device": profile.name, "budget": budget, "measured": values})
    else:
        _print(found, kept, profile)
    if over := [name for name, (_, _, ok) in kept.items() if not ok]:
        raise QualityError(f"{bundle}: over the budget of {profile.name}: {', '.join(over)}")


def _profile(bundle: Path, device: str | None) -> Profile:
    from edgerec.bundle import Bundle
    from edgerec.devices import load_profile
    from edgerec.errors import ConfigError

    if device is not None:
        return load_profile(device)
    own = Bundle.open(bundle).manifest.device
    if not own:
        raise ConfigError(f"{bundle}: names no device; give --device")
    return load_profile(str(own["name"]))


def _print(found: list[Measured], kept: dict[str, tuple[float, float | None, bool]], profile: Profile) -> None:
    typer.echo(f"against the budget of {profile.name}, measured on this machine, {profile.threads} thread(s)")
    columns = ["figure", "measured", *(["the other", "ratio"] if len(found) > 1 else []), "at most", ""]
    rows: list[list[object]] = []
    for name, value in found[0].to_json().items():
        other = found[1].to_json()[name] if len(found) > 1 else None
        ratio = other / value if value and other is not None else None
        limit, _, ok = kept.get(name, (None, None, True))
        beside = [other, ratio] if len(found) > 1 else []
        rows.append([name, value, *beside, limit, "" if limit is None else "kept" if ok else "OVER"])
    print_table(columns, rows)
