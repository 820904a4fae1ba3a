"""Training speed on one core beside RecBole and torch-rechub: same model size, same rows, one run.

The sequence model is timed beside RecBole's SASRec, and the mixture of experts beside torch-rechub's MMoE. Both come
from a Python environment of their own, named by --peers, since they need other versions than edgerec:

    python3.11 -m venv peers
    peers/bin/pip install torch==2.13.0 recbole==1.2.1 torch-rechub==0.9.0 \\
        numpy==1.26.4 pandas==2.2.3 scipy==1.15.3 ray==2.6.3

What a sample is: RecBole turns a user's n events into n - 1 pairs of a past and its next item, and reads the past anew
for each of them; edgerec reads pieces of a past once and predicts the next item at every place. Both figures are given:
targets (next items learned from) and pasts (sequences read) a second. For the mixture a sample is an impression.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.evaluation.baselines.interactions import Int, Interactions
from edgerec.models.experts import MixtureOfExperts
from edgerec.models.sequence import CausalTransformer
from edgerec.progress import progress_for
from edgerec.stages import pipeline
from edgerec.tasks.units import MS_PER_HOUR
from tools.benchmarks.baselines.neural import pieces
from tools.benchmarks.shared.command import Parser, Row, add_json, print_rows
from tools.benchmarks.shared.datasets import SAMPLES

DURATION = "minutes"
PEERS = Path(__file__).parent / "peers"
SEQUENCE = {"dim": 64, "heads": 2, "layers": 2, "longest": 50}
PIECES_AT_ONCE = 64
"""Sequences of a step; RecBole's own default is 2048 pasts, each with one target."""
PEER_PASTS_AT_ONCE = 2048
MIXTURE = {"dim": 16, "hidden": 64, "experts": 4, "batch": 1024}
LABELS = ("click", "long_view", "like")
Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Result:
    """What one side learned from, and the seconds of its fastest epoch."""

    samples: int
    seconds: float
    parameters: int
    sequences: int | None = None

    def row(self, name: str, ratio: float | None = None) -> Row:
        """Its figures, and how many times faster it is than the other side."""
        figures = {"samples a second": self.samples / self.seconds, "ratio": ratio}
        if self.sequences is not None:
            figures["sequences a second"] = self.sequences / self.seconds
        figures |= {"seconds": self.seconds, "parameters": self.parameters}
        rounded = {k: round(v, 2) if v < 100 else round(v) for k, v in figures.items() if v is not None}
        return {"": name, **rounded}


def main(arguments: Sequence[str]) -> int:
    """Time both pairs and print their ratios."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("--peers", type=Path, required=True, help="the Python of the environment with the others")
    parser.add_argument("--users", type=int, default=40, help="users whose events are learned from")
    parser.add_argument("--rows", type=int, default=50_000, help="impressions that are learned from")
    parser.add_argument("--epochs", type=int, default=2, help="passes; the fastest one counts")
    add_json(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.peers, Path(folder), options.users, options.rows, options.epochs)
    print_rows(rows, options.json)
    return 0


def measure(peers: Path, folder: Path, users: int, rows: int, epochs: int) -> list[Row]:
    """Figures by side of each pair; ratios are edgerec's over the other's."""
    events, table = _events(folder, users), _impressions(folder, rows)
    pairs = (
        ("sequence model", sequence_model(events, epochs), "RecBole SASRec", _recbole(peers, folder, events, epochs)),
        ("mixture of experts", mixture(table, epochs), "torch-rechub MMoE", _rechub(peers, folder, table, epochs)),
    )
    figures: list[Row] = []
    for name, ours, peer, theirs in pairs:
        ratio = (ours.samples / ours.seconds) / (theirs.samples / theirs.seconds)
        figures += [ours.row(f"edgerec, {name}", ratio), theirs.row(peer)]
    return figures


# ------------------------------------------------------------------------------------------------ sequences


def _events(folder: Path, users: int) -> Interactions:
    """Events of some users of the retail sample, as they were cleaned, items numbered anew."""
    frame = _dataset("retail", folder).training_frame("test").collect().sort("user", "time", maintain_order=True)
    frame = frame.with_columns(pl.col("user").rank("dense") - 1).filter(pl.col("user") < users)
    user, time_ms = (frame[c].to_numpy().astype(np.int64) for c in ("user", "time"))
    item = np.unique(frame["item"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    return Interactions(user, item, time_ms, np.arange(len(user)), int(user.max()) + 1, int(item.max()) + 1)


class NextItem(nn.Module):
    """The teacher's causal transformer over item vectors, which also are what is predicted."""

    def __init__(self, n_items: int, dim: int, heads: int, layers: int, longest: int) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items, dim)
        nn.init.normal_(self.item.weight, std=0.02)
        self.transformer = CausalTransformer(dim, heads, layers, longest, dropout=0.2)

    def forward(self, items: Tensor, gap_h: Tensor) -> Tensor:
        """Loss of every next item, over the whole catalogue."""
        before, after = items[:, :-1], items[:, 1:]
        present = before >= 0
        states = self.transformer(self.item(before.clamp(min=0)), gap_h, present)
        return F.cross_entropy(states[present] @ self.item.weight.T, after[present])


def sequence_model(events: Interactions, epochs: int) -> Result:
    """Train on pieces of all pasts; a sample is a next item."""
    torch.manual_seed(0)
    model = NextItem(events.n_items, **SEQUENCE)
    items, gap_h = _pieces(events, SEQUENCE["longest"] + 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(rows: Int) -> None:
        optimizer.zero_grad()
        model(items[rows], gap_h[rows]).backward()
        optimizer.step()

    seconds = _fastest(step, len(items), PIECES_AT_ONCE, epochs)
    samples = int((items[:, :-1] >= 0).sum())
    return Result(samples, seconds, _size(model), sequences=len(items))


def _pieces(events: Interactions, longest: int) -> tuple[Tensor, Tensor]:
    """Items (P, longest) and hours from each to the next (P, longest - 1), padded on the left."""
    rows = torch.from_numpy(pieces(events, longest))
    items = torch.where(rows >= 0, torch.from_numpy(events.item)[rows.clamp(min=0)], -1)
    at = torch.from_numpy(events.time_ms)[rows.clamp(min=0)]
    gap_h = (at[:, 1:] - at[:, :-1]).clamp(min=0) / MS_PER_HOUR * (rows[:, :-1] >= 0)
    return items, gap_h.float()


def _recbole(peers: Path, folder: Path, events: Interactions, epochs: int) -> Result:
    log = folder / "log.npz"
    np.savez(log, user=events.user, item=events.item, time=np.arange(len(events.user)))
    settings = {**SEQUENCE, "log": str(log), "batch": PEER_PASTS_AT_ONCE, "epochs": epochs}
    result = _peer(peers, "recbole_sasrec.py", settings)
    return replace(result, sequences=result.samples)  # each target has its own past


# ------------------------------------------------------------------------------------------------ impressions


def _impressions(folder: Path, rows: int) -> Arrays:
    """Codes (E, C) of user, item, context and the item's attributes, their sizes (C,), and labels (E, T)."""
    dataset = _dataset("video", folder)
    frame = dataset.training_frame("test").head(rows).collect()
    items = dataset.items().with_columns(item=pl.col("index").cast(frame.schema["item"]))
    names = [c for c in items.columns if c.startswith("cat.")]
    frame = frame.join(items.select("item", *(pl.col(c).alias(f"item.{c}") for c in names)), on="item", how="left")
    columns = ["user", "item", *(c for c in frame.columns if c.startswith("cat.")), *(f"item.{c}" for c in names)]
    codes = np.stack([np.unique(frame[c].to_numpy(), return_inverse=True)[1] for c in columns], axis=1)
    labels = np.stack([frame[f"label.{name}"].to_numpy() for name in LABELS], axis=1).astype(np.float32)
    return {"codes": codes.astype(np.int64), "sizes": codes.max(axis=0) + 1, "labels": labels}


class Mixture(nn.Module):
    """Embeddings, the teacher's mixture of experts, and a head for each task."""

    def __init__(self, sizes: list[int], tasks: int, dim: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.mixture = MixtureOfExperts(dim * len(sizes), hidden, experts, tasks, dropout=0.2)
        self.heads = nn.Parameter(torch.zeros(tasks, hidden))

    def forward(self, codes: Tensor) -> Tensor:
        """(B, C) -> logits (B, T)."""
        x = torch.cat([vector(codes[:, c]) for c, vector in enumerate(self.vectors)], dim=1)
        return torch.einsum("bth,th->bt", self.mixture(x), self.heads)


def mixture(table: Arrays, epochs: int) -> Result:
    """Train on all rows; a sample is a row."""
    torch.manual_seed(0)
    codes, labels = torch.from_numpy(table["codes"]), torch.from_numpy(table["labels"])
    size = {key: MIXTURE[key] for key in ("dim", "hidden", "experts")}
    model = Mixture(table["sizes"].tolist(), labels.shape[1], **size)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-5)  # torch-rechub's own defaults

    def step(rows: Int) -> None:
        loss = F.binary_cross_entropy_with_logits(model(codes[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    seconds = _fastest(step, len(codes), MIXTURE["batch"], epochs)
    return Result(len(codes), seconds, _size(model))


def _rechub(peers: Path, folder: Path, table: Arrays, epochs: int) -> Result:
    np.savez(folder / "table.npz", codes=table["codes"], sizes=table["sizes"], labels=table["labels"])
    return _peer(peers, "rechub_mmoe.py", {**MIXTURE, "table": str(folder / "table.npz"), "epochs": epochs})


# ------------------------------------------------------------------------------------------------ both


def _dataset(name: str, folder: Path) -> Dataset:
    config = Config.load(SAMPLES / name / "edgerec.toml")
    pipeline.run(config, folder / name, progress_for(), until="prepare")
    return Dataset.open(folder / name / "dataset")


def _fastest(step: Callable[[Int], None], n: int, batch: int, epochs: int) -> float:
    """Seconds of the fastest of `epochs` passes over `n` examples in random order."""
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(epochs):
        order = rng.permutation(n)
        start = time.process_time()
        for at in range(0, n, batch):
            step(order[at : at + batch])
        seconds.append(time.process_time() - start)
    return min(seconds)


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _peer(peers: Path, script: str, settings: Mapping[str, object]) -> Result:
    """What a script prints that the peers' Python runs.

    Raises:
        DataError: it could not be run.
    """
    command = [str(peers), str(PEERS / script), json.dumps(settings)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        expected = "give the Python of an environment"
        raise DataError(f"--peers {peers}: cannot be run: {error.strerror}; {expected}") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        versions = "see tools/benchmark throughput --help for versions"
        raise DataError(f"--peers {peers}: {script} stopped: {last}; {versions}") from None
    return Result(**json.loads(run.stdout.strip().splitlines()[-1]))
