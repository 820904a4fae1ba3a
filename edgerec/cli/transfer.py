"""`edgerec transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["transfer"]


def transfer(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each network with this many seeds, from the first on.")] = 1,
    compare: Annotated[
        bool, typer.Option("--compare", help="Try out all values of [teacher] sharing and loss_weights.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Does each task gain from being learned with the others? Measured on valid; goes on where a call was stopped."""
    settings, folder = load_run(config, run_dir, seed)
    learned = need("edgerec.experiments.transfer", "train", "edgerec transfer")
    from edgerec.progress import progress_for

    report = learned.transfer(settings, folder, progress_for(), seeds, compare)
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, "Learned alone and together, judged on valid (± standard error)")
    if len(report.together) > 1:
        columns, rows = report.ways()
        print_table(columns, rows, "Ways of learning together (± standard error, at most)")
    typer.echo(f"\n{report.sentence()}")
