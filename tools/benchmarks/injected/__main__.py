"""Run the trials of one class in a process with the preloaded library, and print JSON lines.

Arguments: CLASS KIT FOLDER COUNT SEED.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

from tools.benchmarks.injected import clocks, crowded, damaged, disk, forged, killed, torn
from tools.benchmarks.injected.trial import Kit, Outcome

Trials: TypeAlias = Callable[[Kit, Path, int, int], Iterator[Outcome]]
CLASSES: Final[Mapping[str, Trials]] = {
    "kills": killed.run,
    "power-cuts": torn.run,
    "update-cuts": torn.run_updates,
    "disk": disk.run,
    "damage": damaged.run,
    "forgeries": forged.run,
    "processes": crowded.run,
    "clocks": clocks.run,
}

if __name__ == "__main__":
    name, kit, folder, count, seed = sys.argv[1:]
    for outcome in CLASSES[name](Kit(Path(kit)), Path(folder), int(count), int(seed)):
        print(json.dumps(asdict(outcome)), flush=True)
