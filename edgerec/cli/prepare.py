"""`edgerec prepare`: from the log to a dataset."""

from __future__ import annotations

from pathlib import Path

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run

__all__ = ["prepare"]


def prepare(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clean and split the log, and write it as a dataset.

    Rejected rows are written to rejected.parquet, each with the reason.
    """
    from edgerec.cli.output import print_json, print_table
    from edgerec.progress import progress_for

    settings, folder = load_run(config, run_dir, seed)
    from edgerec.stages.pipeline import run_stage, stage_named

    report = run_stage(stage_named("prepare"), settings, folder, progress_for())
    from edgerec.data.prepare import PrepareReport

    assert isinstance(report, PrepareReport)
    if as_json:
        print_json(report.to_json())
        return
    counts = report.meta.counts
    rows: list[list[object]] = [["rows in the log", counts.rows_in], ["rows used", counts.kept]]
    rows += [[f"rejected: {reason}", n] for reason, n in counts.rejected.items()]
    rows += [[name, n] for name, n in report.meta.rows.items()]
    rows += [["users", report.meta.n_users], ["items", report.meta.n_items]]
    print_table(["", "count"], rows)
    typer.echo(f"\n{report.folder} written; rejected rows are in rejected.parquet.")
