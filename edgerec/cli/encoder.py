"""`edgerec encoder`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, open_run
from edgerec.cli.output import print_json
from edgerec.errors import need

__all__ = ["encoder"]


def encoder(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write. Default: encoder/ in the folder of the run.")
    ] = None,
    device: Annotated[str, typer.Option(help="Name or .toml file of the machine that will encode texts.")] = (
        "server-x86"
    ),
    as_json: JsonOption = False,
) -> None:
    """Export the teacher's text model as INT8 ONNX.

    It encodes the texts of new items on a machine without torch.
    """
    run = open_run(config, run_dir, seed, "encoder")
    stage = need("edgerec.stages.encoder", "train", "edgerec encoder")
    report = stage.export_encoder(run, out or run.folder / "encoder", device)
    if as_json:
        print_json(asdict(report))
        return
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"encoder: {report.folder}")
