"""Training speed of the teacher's network on this machine's CPU and GPU, by width, as ratios within one run.

The texts of Online Retail are left out, so that no language model needs to be there. An epoch includes its validation;
the fastest one counts, since the first one compiles and warms up.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from edgerec.config import Config
from edgerec.examples.load import LearningData
from edgerec.progress import Silent, progress_for
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from edgerec.training.teacher import fit_on_valid
from tools.benchmarks.shared import datasets
from tools.benchmarks.shared.command import Parser, Row, add_datasets, add_json, print_titled, whole_numbers

DURATION = "2 minutes a data set and width"
DATASETS = ("retail", "video")
SETUPS: Mapping[str, datasets.Values] = {
    "cpu": {"accelerator": "cpu"},
    "cpu, compiled": {"accelerator": "cpu", "compile": True},
    "gpu, float32": {"accelerator": "gpu", "precision": "32"},
    "gpu": {"accelerator": "gpu"},
    "gpu, compiled": {"accelerator": "gpu", "compile": True},
}
"""Changes of ``[training]``, by name; the others are compared with the first one."""


def main(arguments: Sequence[str]) -> int:
    """Print a table for each data set."""
    options = _parser().parse_args(arguments)
    progress = progress_for()
    setups = options.setups or [name for name in SETUPS if name.startswith("cpu") or torch.cuda.is_available()]
    for name in options.datasets or DATASETS:
        with tempfile.TemporaryDirectory() as folder:
            rows = []
            for row in measure(name, Path(folder), options.widths, setups, options.epochs):
                rows.append(row)
                progress.say(", ".join(f"{key} {cell(value)}" for key, value in row.items()))
        if options.json:
            print(json.dumps({name: rows}), flush=True)
        else:
            cells = [[cell(value) for value in row.values()] for row in rows]
            print_titled((f"{name}, {machine()}", list(rows[0]), cells))
    return 0


def _parser() -> Parser:
    parser = Parser(__name__, __doc__)
    add_datasets(parser, DATASETS)
    parser.add_argument(
        "--widths", type=whole_numbers("64,512", 1), default=(64, 512), help="[teacher] dim, such as 64,512"
    )
    parser.add_argument("--epochs", type=int, default=3, help="of each training (default: %(default)s)")
    parser.add_argument("--setups", nargs="*", choices=[*SETUPS], help="by default all that the machine has")
    add_json(parser)
    return parser


def cell(value: object) -> str:
    """Five digits of a measured figure; counts and names whole."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """What the figures are of."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores, {gpu}, torch {torch.__version__}"


def measure(name: str, folder: Path, widths: Sequence[int], setups: Sequence[str], epochs: int) -> Iterator[Row]:
    """A row for each width and setup."""
    values, home = datasets.settings_of(name, None, folder)
    values["data"].get("items", {}).pop("text", None)
    values |= {"evaluation": {"part": "valid"}}
    plain = Config.of(values, home, name)
    pipeline.run(plain, folder, Silent(), until="prepare")
    data = Run(plain, folder, Silent()).learning_data("valid")
    for width in widths:
        first = None
        for setup in setups:
            teacher = {**values.get("teacher", {}), "dim": width, "epochs": epochs, "patience": epochs}
            config = Config.of({**values, "teacher": teacher, "training": {**SETUPS[setup]}}, home, name)
            figures = timed(config, data, folder)
            first = first or figures["seconds an epoch"]
            yield {"width": width, "on": setup, **figures, "times faster": first / figures["seconds an epoch"]}


def timed(config: Config, data: LearningData, folder: Path) -> dict[str, float]:
    """Train one network; its parameters, the seconds of the fastest epoch, and the least validation loss."""
    ends, losses = [time.perf_counter()], []

    def on_epoch(epoch: int, valid: Mapping[str, float]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        losses.append(valid["loss"])

    with tempfile.TemporaryDirectory(dir=folder) as work:
        model, _ = fit_on_valid(config.teacher, config.training, config.seed, data, Path(work), Silent(), "", on_epoch)
    seconds = min(b - a for a, b in itertools.pairwise(ends))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "seconds an epoch": seconds, "least loss on valid": min(losses)}
