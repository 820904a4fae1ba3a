"""Samples a second of RecBole's SASRec: run by the peers' Python, which has no edgerec. Arguments: settings as JSON.

Settings: log (a .npz with user, item and time), dim, heads, layers, longest, batch, epochs. Prints one line of JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed


def main(settings: dict[str, Any]) -> dict[str, float]:
    """Samples, seconds of the fastest epoch, parameters."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_log(settings["log"], Path(folder) / "log")
        config = Config(
            model="SASRec",
            dataset="log",
            config_dict={
                "data_path": folder,
                "checkpoint_dir": folder,
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "MAX_ITEM_LIST_LENGTH": settings["longest"],
                "hidden_size": settings["dim"],
                "inner_size": 4 * settings["dim"],
                "n_layers": settings["layers"],
                "n_heads": settings["heads"],
                "loss_type": "CE",
                "train_neg_sample_args": None,
                "train_batch_size": settings["batch"],
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
                "use_gpu": False,
                "show_progress": False,
                "state": "ERROR",
            },
        )
        init_seed(0, True)
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)
        model = get_model("SASRec")(config, train._dataset)
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
        seconds = []
        for epoch in range(settings["epochs"]):
            start = time.process_time()
            trainer._train_epoch(train, epoch, show_progress=False)
            seconds.append(time.process_time() - start)
        samples = len(train._dataset)
    return {"samples": samples, "seconds": min(seconds), "parameters": sum(p.numel() for p in model.parameters())}


def write_log(path: str, folder: Path) -> None:
    """RecBole's own format: tab-separated, with types in the header."""
    folder.mkdir()
    with np.load(path) as log, (folder / "log.inter").open("w") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, item, at in zip(log["user"].tolist(), log["item"].tolist(), log["time"].tolist(), strict=True):
            out.write(f"{user}\t{item}\t{at}\n")


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
