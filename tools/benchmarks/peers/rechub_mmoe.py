"""Samples a second of torch-rechub's MMoE: run by the peers' Python, which has no edgerec. Arguments: settings as JSON.

Settings: table (a .npz with codes (E, C), sizes (C,) and labels (E, T)), dim, hidden, experts, batch, epochs. Prints
one line of JSON.
"""

import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator


def main(settings: dict[str, Any]) -> dict[str, float]:
    """Samples, seconds of the fastest epoch, parameters."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with np.load(settings["table"]) as table:
        codes, sizes, labels = table["codes"], table["sizes"].tolist(), table["labels"]
    features = [SparseFeature(f"c{c}", vocab_size=size, embed_dim=settings["dim"]) for c, size in enumerate(sizes)]
    kinds = ["classification"] * labels.shape[1]
    experts = {"dims": [settings["hidden"], settings["hidden"]], "activation": "relu", "dropout": 0.2}
    model = MMOE(features, kinds, settings["experts"], experts, [{"dims": []} for _ in kinds])
    columns = {f"c{c}": codes[:, c] for c in range(codes.shape[1])}
    rows, *_ = DataGenerator(columns, labels).generate_dataloader(
        x_val=columns, y_val=labels, x_test=columns, y_test=labels, batch_size=settings["batch"]
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = MTLTrainer(model, kinds, model_path=folder)
        seconds = []
        for _ in range(settings["epochs"]):
            start = time.process_time()
            trainer.train_one_epoch(rows)
            seconds.append(time.process_time() - start)
    parameters = sum(p.numel() for p in model.parameters())
    return {"samples": len(labels), "seconds": min(seconds), "parameters": parameters}


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # the trainer prints
    print(json.dumps(main(json.loads(sys.argv[1]))), file=out)
