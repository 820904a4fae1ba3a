"""`edgerec bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import BundleArgument
from edgerec.files import write_json

if TYPE_CHECKING:
    from edgerec.bench.measure import Measured, Target

__all__ = ["bench"]


def bench(
    bundle: BundleArgument,
    device: Annotated[
        str | None,
        typer.Option(help="A device, or a .toml file of one, whose budget counts; or else the bundle's own."),
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Another bundle, measured in turn with this one.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write a correction file: what this device measures, for edgerec fit.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure size, memory, cold start and speed here, against a device's budget; exit code 1 where it is exceeded."""
    from edgerec.bench.measure import correction, measure, verdicts
    from edgerec.errors import ConfigError, QualityError

    if save is not None and not save.parent.is_dir():  # before minutes of measuring
        raise ConfigError(f"{save}: there is no folder {save.parent}; make it first")
    target = _target(bundle, device)
    bundles = [bundle] if compare is None else [bundle, compare]
    found = measure(bundles, target.threads)
    if save is not None:
        write_json(save, correction(bundle, found[0]), sort_keys=False)
    kept = verdicts(found[0], target)
    if as_json:
        budget = {name: {"limit": at, "measured": value, "kept": ok} for name, (at, value, ok) in kept.items()}
        names = [str(b) for b in bundles]
        values: list[Any] = [{"bundle": n, **m.to_json()} for n, m in zip(names, found, strict=True)]
        print_json({"device": target.name, "budget": budget, "measured": values})
    else:
        _print(found, kept, target)
    if over := [name for name, (_, _, ok) in kept.items() if not ok]:
        raise QualityError(f"{bundle}: over the budget of {target.name}: {', '.join(over)}")


def _target(bundle: Path, device: str | None) -> Target:
    from edgerec.bench.measure import Target
    from edgerec.bundle import Bundle
    from edgerec.devices import load_profile

    if device is not None:
        return Target.of(load_profile(device).to_json(), device)
    return Target.of(Bundle.open(bundle).manifest.device, bundle)


def _print(found: list[Measured], kept: dict[str, tuple[float, float | None, bool]], target: Target) -> None:
    typer.echo(f"against the budget of {target.name}, measured on this machine, {target.threads} thread(s)")
    columns = ["figure", "measured", *(["the other", "ratio"] if len(found) > 1 else []), "at most", ""]
    rows: list[list[object]] = []
    for name, value in found[0].to_json().items():
        other = found[1].to_json()[name] if len(found) > 1 else None
        ratio = other / value if value and other is not None else None
        limit, _, ok = kept.get(name, (None, None, True))
        beside = [other, ratio] if len(found) > 1 else []
        rows.append([name, value, *beside, limit, "" if limit is None else "kept" if ok else "OVER"])
    print_table(columns, rows)
