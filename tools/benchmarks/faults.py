"""What faults do to a device: kills, power cuts, bad disks, damage, forgeries, crowds, wrong clocks.

For each class one line: how many trials, how many acknowledged events were lost, how many forgeries or impossible times
were accepted, how many trials ended in a crash (the process died, hung, raised what is not an error of ours, or did not
recommend), and the worst trial's memory and time. Below it, what happened, and how often. Exit code 1 if anything was
lost or accepted or crashed, or a trial took over 300 MB or 5 seconds. Any bundle will do; faults do not depend on its
size. Needs Linux, a C compiler and the extra `sign`: faults are injected by a preloaded library, see
tools/benchmarks/injected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from edgerec.progress import progress_for
from tools.benchmarks.injected.library import build
from tools.benchmarks.injected.trial import Kit, Outcome, make_kit
from tools.benchmarks.shared.command import Parser, add_json, print_rows

DURATION = "ten to twenty minutes"
TRIALS: Final = {"kills": 1000, "power-cuts": 600, "update-cuts": 400, "disk": 500, "damage": 1000,
                 "forgeries": 300, "processes": 60, "clocks": 100}  # fmt: skip
"""How many; of "processes", seconds."""
MAX_MEBIBYTES: Final = 300
MAX_S: Final = 5
ROOT: Final = Path(__file__).parents[2]


@dataclass
class Count:
    """What the trials of a class came to."""

    name: str
    trials: int = 0
    total: Outcome = field(default_factory=Outcome)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count a trial."""
        self.trials += 1
        for what in ("lost", "accepted", "crashed"):
            setattr(self.total, what, getattr(self.total, what) + getattr(outcome, what))
        for what in ("mebibytes", "seconds"):
            setattr(self.total, what, max(getattr(self.total, what), getattr(outcome, what)))
        if outcome.note:
            self.notes[outcome.note] += 1
        elif outcome.seconds > MAX_S or outcome.mebibytes > MAX_MEBIBYTES:
            self.notes[f"over {MAX_S} s or {MAX_MEBIBYTES} MiB"] += 1

    def holds(self, max_s: float = MAX_S) -> bool:
        """Whether nothing went wrong, and no trial took too much."""
        total = self.total
        harm = total.lost or total.accepted or total.crashed
        return not harm and total.mebibytes <= MAX_MEBIBYTES and total.seconds <= max_s

    def row(self) -> dict[str, object]:
        """For the table."""
        total = self.total
        return {
            "class": self.name,
            "trials": self.trials,
            "lost": total.lost,
            "accepted": total.accepted,
            "crashed": total.crashed,
            "worst memory, MiB": round(total.mebibytes),
            "worst time, s": round(total.seconds, 2),
        }


def try_class(name: str, library: Path, kit: Kit, folder: Path, trials: int, seed: int) -> Count:
    """Run the trials of a class, in a process into which the library is loaded."""
    folder.mkdir()
    command = [sys.executable, "-m", "tools.benchmarks.injected", name, str(kit.folder), str(folder), str(trials)]
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    count = Count(name)
    with (
        subprocess.Popen([*command, str(seed)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as run,
        progress_for().track(trials, name) as track,
    ):
        assert run.stdout is not None
        for line in run.stdout:
            count.add(Outcome(**json.loads(line)))
            track.advance()
    if run.returncode:
        count.add(Outcome(crashed=1, note=f"the trials themselves ended with {run.returncode}"))
    return count


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle, such as runs/retail/bundle")
    parser.add_argument("--classes", default=",".join(TRIALS), help="which (default: %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the trials (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--notes", type=int, default=5, help="kinds of harm to show a class (default: %(default)s)")
    parser.add_argument("--max-s", type=float, default=MAX_S, help="seconds of a trial (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args(arguments)
    names = options.classes.split(",")
    for name in names:
        if name not in TRIALS:
            parser.error(f"argument --classes: {name!r} is not one of {', '.join(TRIALS)}")
    counts = []
    with TemporaryDirectory(prefix="edgerec-faults-") as scratch:
        home = Path(scratch)
        library, kit = build(home), make_kit(options.bundle, home / "kit")
        for name in names:
            trials = max(1, round(TRIALS[name] * options.share))
            counts.append(try_class(name, library, kit, home / name, trials, options.seed))
    print_rows([count.row() for count in counts], options.json)
    if not options.json:
        for count in counts:
            for note, times in count.notes.most_common(options.notes):
                print(f"{count.name}: {times} times: {note}")
    return int(not all(count.holds(options.max_s) for count in counts))
