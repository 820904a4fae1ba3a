"""One measurement of tools/memory: `python -m tools.memory_child FOLDER STEPS ROWS_AT_ONCE`, prints JSON."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import torch

from edgerec.config import Config
from edgerec.progress import Silent
from edgerec.training import batches, pasts, scratch
from edgerec.training.batches import JointBatches
from edgerec.training.joint import JointTraining
from edgerec.training.load import load_learning_data
from edgerec.training.teacher import batch_settings, build_teacher
from tools.memory import SETTINGS, Watched, own_kib


def main(folder: Path, steps: int, at_once: int) -> None:
    """Load, and learn from some batches of an epoch."""
    if at_once:
        scratch.AT_ONCE = batches.AT_ONCE = at_once
        pasts.EVENTS_KEPT = 4 * at_once
    torch.set_num_threads(1)
    before, start = own_kib(), time.monotonic()
    watched = Watched()
    watched.start()
    config = Config.of(SETTINGS, folder)
    data = load_learning_data(config, folder / "run", "test", Silent())
    module = JointTraining(build_teacher(config, data), data.tasks, data.fit.n_seen)
    optimizer = torch.optim.AdamW(module.parameters())
    for batch in itertools.islice(JointBatches(data.fit, batch_settings(config, data), seed=0), steps):
        optimizer.zero_grad()
        module.total(module.losses(batch)).backward()
        optimizer.step()
    watched.over.set()
    watched.join()
    own_mib = (watched.most_kib - before) / 1024
    print(json.dumps({"own_mib": own_mib, "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
