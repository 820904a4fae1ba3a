"""`edgerec bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
        typer.Option(help="Name or .toml file of the device whose budget counts. Default: that in the bundle."),
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Another bundle, measured in turn with this one.")] = None,
    engine: Annotated[str, typer.Option(help="auto, native, onnxruntime or numpy; see the runtime.")] = "auto",
    save: Annotated[
        Path | None, typer.Option(help="Write the measurements to a file that edgerec search --measured reads.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle here, against the budget of a device.

    Measured are size, memory, cold start and latency. If the budget is exceeded, the exit code is 1.
    """
    from edgerec.bench.measure import correction, measure, verdicts
    from edgerec.errors import ConfigError, QualityError

    if save is not None and not save.parent.is_dir():  # before minutes of measuring
        raise ConfigError(f"{save}: there is no folder {save.parent}; make it first")
    target = _target(bundle, device)
    bundles = [bundle] if compare is None else [bundle, compare]
    measured = measure(bundles, target.threads, engine=engine)
    if save is not None:
        write_json(save, correction(bundle, measured[0]), sort_keys=False)
    within = verdicts(measured[0], target)
    if as_json:
        budget = {name: {"limit": at, "measured": value, "kept": ok} for name, (at, value, ok) in within.items()}
        values = [{"bundle": str(b), **m.to_json()} for b, m in zip(bundles, measured, strict=True)]
        print_json({"device": target.name, "budget": budget, "measured": values})
    else:
        _print(measured, within, target)
    if over := [name for name, (_, _, ok) in within.items() if not ok]:
        raise QualityError(f"{bundle}: over the budget of {target.name}: {', '.join(over)}")


def _target(bundle: Path, device: str | None) -> Target:
    from edgerec.bench.measure import Target
    from edgerec.bundle import Bundle
    from edgerec.devices import load_profile

    if device is not None:
        return Target.of(load_profile(device).to_json(), device)
    return Target.of(Bundle.open(bundle).manifest.device, bundle)


def _print(measured: list[Measured], within: dict[str, tuple[float, float | None, bool]], target: Target) -> None:
    typer.echo(f"budget of {target.name}; measured on this machine with {target.threads} thread(s)")
    columns = ["figure", "measured", *(["other bundle", "ratio"] if len(measured) > 1 else []), "at most", ""]
    rows: list[list[object]] = []
    for name, value in measured[0].to_json().items():
        other = measured[1].to_json()[name] if len(measured) > 1 else None
        ratio = other / value if isinstance(other, float | int) and value else None
        limit, _, ok = within.get(name, (None, None, True))
        beside = [other, ratio] if len(measured) > 1 else []
        rows.append([name, value, *beside, limit, "" if limit is None else "kept" if ok else "OVER"])
    print_table(columns, rows)
