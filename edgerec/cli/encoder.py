"""`edgerec encoder`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json
from edgerec.errors import need

__all__ = ["encoder"]


def encoder(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where it is written; encoder/ of the run by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="The machine that will encode texts, or a .toml file of one.")] = (
        "server-x86"
    ),
    as_json: JsonOption = False,
) -> None:
    """Write the teacher's text model as INT8 ONNX, to encode new items where torch is not installed."""
    settings, folder = load_run(config, run_dir, seed)
    stage = need("edgerec.stages.encoder", "train", "edgerec encoder")
    from edgerec.progress import progress_for
    from edgerec.stages.run import Run

    report = stage.export_encoder(Run(settings, folder, progress_for()), out or folder / "encoder", device)
    if as_json:
        print_json(asdict(report))
        return
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"encoder: {report.folder}")
