"""What each stage of a run and each part of it takes: wall and CPU seconds, and peak memory (MiB, with children).

Runs the stages anew with a run's settings, in another folder. Parts are what the stages themselves report as progress,
so those of the networks' trainings are the wall and CPU time of all their processes. Memory is sampled on Linux;
elsewhere it is the most since the start. --json keeps the figures, and --against compares with kept ones. --fit takes
files of several finished runs and writes edgerec/stages/cost.json, from which the time of a run is foretold; give it
runs of logs of very different sizes, measured on an idle machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from edgerec.cli.output import print_json
from edgerec.config import Config
from edgerec.config.effort import Effort, LogSize
from edgerec.devices.machine import versions
from edgerec.errors import ConfigError, QualityError
from edgerec.files import read_json, write_json
from edgerec.progress import progress_for
from edgerec.stages import cost, pipeline
from edgerec.stages.effort import log_size, settled
from edgerec.threads import cores
from tools.benchmarks.shared import fit_costs
from tools.benchmarks.shared.command import Parser, Row, add_json, add_out, print_rows
from tools.benchmarks.shared.measured import Cost, Measured

DURATION = "as long as the run itself: minutes"
TOTAL = "all stages"


def main(arguments: Sequence[str]) -> int:
    """Print a row for each stage and part."""
    names = [stage.name for stage in pipeline.STAGES]
    parser = Parser(__name__, __doc__)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run such as runs/retail, or a settings file")
    parser.add_argument("--config", type=Path, help="settings of the run (default: edgerec.toml in its folder)")
    parser.add_argument("--first", choices=names, default=names[0], help="those before it are taken from the run")
    parser.add_argument("--last", choices=names, default=names[-1], help="those after it are left out")
    parser.add_argument("--against", type=Path, help="a file that --json printed; prints this time / that time")
    parser.add_argument("--effort", choices=get_args(Effort), help="in place of that of the settings")
    parser.add_argument("--fit", type=Path, nargs="+", metavar="FILE", help="files that --json printed; runs nothing")
    add_out(parser, "stages")
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.fit:
        return fit([read_run(path) for path in options.fit])
    if options.run is None:
        parser.error("expected a run to measure, or --fit with files")
    before = None if options.against is None else {c.path: c for c in read_run(options.against).costs}
    config = Config.load(options.config or (options.run / "edgerec.toml" if options.run.is_dir() else options.run))
    if options.effort:
        config = config.model_copy(update={"effort": options.effort})
    costs = measure(config, options.run, options.out, names[names.index(options.first) : names.index(options.last) + 1])
    if options.json:
        print_json(described(config, options.out, costs))
    else:
        print_rows([_row(c) for c in costs] if before is None else compared(costs, before))
    return 0


def measure(config: Config, run: Path, out: Path, names: Sequence[str]) -> list[Cost]:
    """Run the stages of these names in `out`, which is emptied; what those before them left is taken from `run`."""
    if out.resolve() == run.resolve():
        raise ConfigError(f"{out}: --out would be emptied, and it is the run itself; name another folder")
    shutil.rmtree(out, ignore_errors=True)
    measured = Measured(progress_for())
    for stage in pipeline.STAGES:
        if stage.name not in names:
            _take(stage, run, out)
            continue
        try:
            pipeline.run_stage(stage, config, out, measured)
        except QualityError as error:
            measured.say(f"{error}; measuring goes on")
        if stage.name == names[-1]:
            break
    costs = measured.costs()
    whole = [c for c in costs if len(c.path) == 1]
    wall_s, cpu_s = sum(c.wall_s for c in whole), sum(c.cpu_s for c in whole)
    return [*costs, Cost((TOTAL,), wall_s, cpu_s, max(c.peak_mib for c in whole))]


def _take(stage: pipeline.Stage, run: Path, out: Path) -> None:
    """Copy the finished output of a stage."""
    stamp = Path("stages") / f"{stage.name}.json"
    if not (run / stamp).exists():
        raise ConfigError(f"{run}: has no finished stage {stage.name}; leave --first out, or finish it first")
    shutil.copytree(run / stage.folder, out / stage.folder)
    (out / stamp).parent.mkdir(exist_ok=True)
    shutil.copy(run / stamp, out / stamp)


def described(config: Config, folder: Path, costs: Sequence[Cost]) -> dict[str, object]:
    """Figures with all that they depend on: what was chosen for the log, its size, and how fast the machine is."""
    return {
        "versions": versions(),
        "cores": cores(),
        "probe": cost.probe(),
        "log": asdict(log_size(folder)),
        "config": settled(config, folder).model_dump(mode="json", exclude_unset=True),
        "costs": [asdict(of_part) for of_part in costs],
    }


def read_run(path: Path) -> fit_costs.Run:
    """What `described` wrote.

    Raises:
        ConfigError: the file is another one.
    """
    values = read_json(path)
    try:
        costs = [Cost(**{**of_part, "path": tuple(of_part["path"])}) for of_part in values["costs"]]
        size = LogSize(**values["log"])
        return fit_costs.Run(Config.of(values["config"]), size, values["probe"], values["cores"], costs)
    except (KeyError, TypeError, ConfigError):
        raise ConfigError(f"{path}: expected what tools/benchmark stages --json prints") from None


def fit(runs: Sequence[fit_costs.Run]) -> int:
    """Write the constants that fit the runs, and print how well they do."""
    constants = fit_costs.fitted(runs, read_json(cost.CONSTANTS)["seconds"])
    write_json(cost.CONSTANTS, constants)
    cost.forget()
    rows: list[Row] = []
    for run in runs:
        factor = cost.factor_of(run.probe)
        foretold_s = sum(cost.seconds(run.config, run.size, factor, run.cores).values())
        taken_s = sum(c.wall_s for c in run.costs if c.path == (TOTAL,))
        rows.append(
            {
                "rows": f"{run.size.rows:,}",
                "items": f"{run.size.items:,}",
                "foretold s": round(foretold_s),
                "taken s": round(taken_s),
                "ratio": f"{taken_s / foretold_s:.2f}",
            }
        )
    print_rows(rows)
    return 0


def _row(of: Cost) -> Row:
    name = "   " * (len(of.path) - 1) + of.path[-1]
    peak = f"{of.peak_mib:,.0f}" if of.peak_mib else ""
    return {"part": name, "wall s": f"{of.wall_s:.1f}", "CPU s": f"{of.cpu_s:.1f}", "peak MiB": peak}


def compared(costs: Sequence[Cost], before: dict[tuple[str, ...], Cost]) -> list[Row]:
    """Each figure beside that of before, and their ratio."""
    rows: list[Row] = []
    every = {c.path: c for c in costs}
    for path in dict.fromkeys([*every, *before]):
        now, then = every.get(path), before.get(path)
        row = {"part": "   " * (len(path) - 1) + path[-1]}
        for title, name in (("wall s", "wall_s"), ("CPU s", "cpu_s"), ("peak MiB", "peak_mib")):
            old, new = (None if c is None else float(getattr(c, name)) for c in (then, now))
            row[f"{title} before"] = "" if old is None else f"{old:,.1f}"
            row[f"{title} now"] = "" if new is None else f"{new:,.1f}"
            row[f"{title} ratio"] = f"{new / old:.2f}" if old and new is not None else ""
        rows.append(row)
    return rows
