"""`edgerec run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import (
    ConfigOption,
    EffortOption,
    JsonOption,
    RunDirOption,
    SeedOption,
    checked_effort,
    load_run,
)
from edgerec.cli.output import print_json
from edgerec.cli.search import search
from edgerec.cli.stages import gate_shown, print_report
from edgerec.errors import ConfigError

__all__ = ["run"]


def run(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    effort: EffortOption = None,
    until: Annotated[str | None, typer.Option(help="Name of the last stage to run. Default: evaluate.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Search the best bundle for this device, as edgerec search does.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run all stages, from the log to the judged bundle.

    A stage is skipped if its settings and inputs did not change since it ran. What the settings leave open is chosen
    for the size of the log, so that the run ends in the time that it announces; --effort makes that time short or long.
    """
    if device is not None:
        if until is not None:
            raise ConfigError("--until and --device exclude each other, since a device search runs all stages")
        search(config, run_dir, seed, device, None, None, as_json)
        return
    settings, folder = load_run(config, run_dir, seed)
    from edgerec.progress import progress_for
    from edgerec.stages import pipeline

    names = [stage.name for stage in pipeline.STAGES]
    if until is not None and until not in names:
        raise ConfigError(f"--until {until}: there is no such stage; expected one of {', '.join(names)}")
    with gate_shown(lambda: None if as_json else print_report(folder)):
        ran = pipeline.run(settings, folder, progress_for(), until, checked_effort(effort))
    if as_json:
        print_json({"run_dir": str(folder), "ran": list(ran)})
    elif until in (None, "evaluate"):
        print_report(folder)
