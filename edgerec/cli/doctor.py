"""`edgerec doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import QualityError, need

__all__ = ["doctor"]

NO_LOG = "no log was checked: run edgerec prepare first, or name the settings with -c"


def doctor(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and the prepared log for problems.

    If edgerec train would refuse the log, for a leak, or if the log is unfit to learn from or to judge by, the exit
    code is 1.
    """
    from edgerec.devices.machine import describe

    findings, folder = [], Path()
    allowed: tuple[str, ...] = ()
    if config.exists():
        settings, folder = load_run(config, run_dir, None)
        allowed = settings.training.allow_leaks
    has_log = (folder / "dataset" / "dataset.json").exists() and config.exists()
    if has_log:
        need("polars", "train", "edgerec doctor")
        from edgerec.data import Dataset
        from edgerec.data.doctor import examine

        findings = examine(Dataset.open(folder / "dataset"))
    facts = describe(folder)
    stopping = [f for f in findings if f.level == "stop" and f.name not in allowed]
    if as_json:
        print_json({"machine": facts, "log": [asdict(f) for f in findings] if has_log else None})
    else:
        print_table(["what", "is"], [[name, value] for name, value in facts.items()])
        rows = [["allowed" if f.level == "stop" and f not in stopping else f.level, f.what, f.advice] for f in findings]
        if rows:
            print_table(["level", "finding", "what to do"], rows, f"The log in {folder / 'dataset'}")
        else:
            typer.echo("the log has no problems" if has_log else NO_LOG)
    if stopping:
        raise QualityError(f"doctor: {stopping[0].what}: train would stop")
    if unfit := [f for f in findings if f.level == "unfit"]:
        more = f" (and {len(unfit) - 1} more)" if len(unfit) > 1 else ""
        raise QualityError(f"doctor: the log is unfit: {unfit[0].what}{more}; {unfit[0].advice}")
