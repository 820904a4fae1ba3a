"""Training speed of the teacher's network on this machine's CPU and GPU, by width, as ratios within one run.

The texts of Online Retail are left out, so that no language model needs to be there. An epoch holds its validation; the
fastest one counts, since the first one compiles and warms up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edgerec import pipeline
from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.errors import ConfigError
from edgerec.progress import Progress, Silent, progress_for
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.teacher import fit_on_valid
from tools.benchmarks.shared import datasets
from tools.benchmarks.shared.command import add_sets, exit_code_of

SETS = ("retail", "video")
WAYS: Mapping[str, Mapping[str, Any]] = {
    "cpu": {"accelerator": "cpu"},
    "cpu, compiled": {"accelerator": "cpu", "compile": True},
    "gpu, 32 bits": {"accelerator": "gpu", "precision": "32"},
    "gpu": {"accelerator": "gpu"},
    "gpu, compiled": {"accelerator": "gpu", "compile": True},
}
"""Changes of ``[training]``, by name; the first one is what the others are compared to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 130 after Ctrl-C, 2 after a mistake of the user."""
    asked = _parser().parse_args(arguments)
    return exit_code_of(lambda: _tell(asked, progress_for()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/accelerators", description=__doc__)
    add_sets(parser, SETS)
    parser.add_argument("--widths", default="64,512", help="[teacher] dim, such as 64,512")
    parser.add_argument("--epochs", type=int, default=3, help="of each training")
    parser.add_argument("--ways", nargs="*", choices=[*WAYS], help="these alone; all that the machine has by default")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser


def _tell(asked: argparse.Namespace, progress: Progress) -> None:
    try:
        widths = [int(width) for width in asked.widths.split(",")]
    except ValueError:
        raise ConfigError(f"--widths {asked.widths}: expected whole numbers, such as 64,512") from None
    ways = asked.ways or [way for way in WAYS if way.startswith("cpu") or torch.cuda.is_available()]
    for name in asked.sets or SETS:
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for row in measure(name, Path(folder), widths, ways, asked.epochs):
                found.append(row)
                progress.say(", ".join(f"{key} {cell(value)}" for key, value in row.items()))
        if asked.json:
            print(json.dumps({name: found}), flush=True)
            continue
        rows = [[cell(value) for value in row.values()] for row in found]
        print(f"\n{name}, {machine()}\n{format_table(list(found[0]), rows)}", flush=True)


def cell(value: Any) -> str:
    """Five digits of a measured figure; counts and names whole."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """What the figures are of."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores, {gpu}, torch {torch.__version__}"


def measure(
    name: str, folder: Path, widths: Sequence[int], ways: Sequence[str], epochs: int
) -> Iterator[dict[str, Any]]:
    """A row for each width and way."""
    values, home = datasets.settings_of(name, None, folder)
    values["data"].get("items", {}).pop("text", None)
    values |= {"evaluation": {"part": "valid"}}
    plain = Config.of(values, home, name)
    pipeline.run(plain, folder, Silent(), until="prepare")
    data = load_learning_data(plain, folder, "valid", Silent())
    for width in widths:
        first = None
        for way in ways:
            teacher = {**values.get("teacher", {}), "dim": width, "epochs": epochs, "patience": epochs}
            config = Config.of({**values, "teacher": teacher, "training": {**WAYS[way]}}, home, name)
            row = timed(config, data, folder / "work")
            first = first or row["seconds an epoch"]
            ratio = first / row["seconds an epoch"]
            yield {"width": width, "on": way, **row, "times faster": ratio}


def timed(config: Config, data: LearningData, work: Path) -> dict[str, float]:
    """Train one network; its parameters, the seconds of the fastest epoch, and the least validation loss."""
    ends, losses = [time.perf_counter()], []

    def on_epoch(epoch: int, valid: Mapping[str, float]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        losses.append(valid["loss"])

    with tempfile.TemporaryDirectory(dir=work.parent) as place:
        model, _ = fit_on_valid(config, data, Path(place), Silent(), "", on_epoch)
    took = min(b - a for a, b in itertools.pairwise(ends))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "seconds an epoch": took, "least loss on valid": min(losses)}


if __name__ == "__main__":
    sys.exit(main())
