"""The joint training loop of teacher and student: one multi-task loss, run by Lightning."""

from __future__ import annotations

import logging
import math
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from edgerec.errors import DataError, EdgerecError
from edgerec.models.inputs import Items, RequestBatch
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.training import losses
from edgerec.training.batches import JointBatch, JointBatches, PairBatch, RowBatch, VisitBatch


class Scorer(Protocol):
    """What the loop trains and the evaluation asks: teacher and student alike. Shapes as in `Student`."""

    def encode_items(self, statistics: Tensor) -> Items: ...
    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor: ...
    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor: ...
    def score_related(self, query: Tensor, items: Items) -> Tensor: ...


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn."""

    epochs: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    """Stop after this many epochs without a better validation loss; None runs all epochs."""
    soft_share: float = 0.0
    """Part of the loss that comes from a teacher's labels, where there are any."""
    temperature: float = 1.0
    stop_after: int | None = None
    """Stop the schedule of `epochs` after this many of them: repeats a run that was stopped early."""
    keep_last: bool = False
    """Leave the model at its last epoch, even where another was better on valid."""


OnEpoch: TypeAlias = "Callable[[int, dict[str, float]], None]"
"""Called after each epoch (1, 2, ...) with the validation losses, of each task and "loss"; its error ends `fit`."""


class JointTraining(lightning.LightningModule):
    """One loss over all tasks, each with its weight."""

    def __init__(
        self, model: torch.nn.Module, tasks: Sequence[Task], settings: LoopSettings, steps: int, n_seen: int
    ) -> None:
        super().__init__()
        self.model, self.tasks, self.settings, self.steps = model, list(tasks), settings, steps
        self.scored, self.n_seen = scored_tasks(tasks), n_seen
        self.retrieval = [i for i, t in enumerate(self.scored) if t.kind == "retrieval"]
        self.related = [t for t in tasks if t.kind == "related"]
        # A uniform guess over the catalogue loses log N: in its unit, ranking weighs about as much as a probability.
        unit = 1 / math.log(max(n_seen, 3))
        self.weights = {t.name: t.weight * (unit if t.kind in ("retrieval", "related") else 1.0) for t in tasks}

    @property
    def scorer(self) -> Scorer:
        """The model, by what it can do."""
        return cast(Scorer, self.model)

    def losses(self, batch: JointBatch) -> dict[str, Tensor]:
        """The loss of each task that the batch holds examples of."""
        found: dict[str, Tensor] = {}
        if batch.visits is not None:
            found |= self._visits(batch.visits)
        if batch.rows is not None:
            found |= self._rows(batch.rows)
        return found

    def _visits(self, batch: VisitBatch) -> dict[str, Tensor]:
        items = self.scorer.encode_items(batch.statistics)
        logits = self.scorer.score_catalog(batch.requests, items, self.retrieval)
        found = {}
        for r, i in enumerate(self.retrieval):
            task = self.scored[i]
            own = logits[:, r]
            soft = batch.soft[:, r] if batch.soft is not None else None
            if task.repeats == "exclude":
                own = exclude_history(own, batch.requests)
                soft = None if soft is None else exclude_history(soft, batch.requests)
            own, soft = own[:, : self.n_seen], None if soft is None else soft[:, : self.n_seen]
            loss = losses.listwise(own, batch.owner[r], batch.item[r])
            if soft is not None:
                distilled = losses.listwise_soft(own, soft, self.settings.temperature)
                loss = self._blend(loss, distilled)
            found[task.name] = loss
        if batch.related is not None:
            found |= {task.name: self._pairs(batch.related, items) for task in self.related}
        return found

    def _rows(self, batch: RowBatch) -> dict[str, Tensor]:
        items = self.scorer.encode_items(batch.statistics)
        logits = self.scorer.score_rows(batch.requests, batch.candidate, items)
        log_p = losses.chain_log_probabilities(logits, self.scored)
        found = {}
        for i, task in enumerate(self.scored):
            if task.kind == "retrieval":
                continue
            loss_of = losses.binary if task.kind == "binary" else losses.regression
            loss = loss_of(log_p[:, i], batch.labels[:, i])
            if batch.soft is not None:
                loss = self._blend(loss, loss_of(log_p[:, i], batch.soft[:, i]))
            found[task.name] = loss
        return found

    def _pairs(self, batch: PairBatch, items: Items) -> Tensor:
        logits = self.scorer.score_related(batch.query, items)
        logits = logits.scatter(1, batch.query.unsqueeze(1), losses.NEVER)[:, : self.n_seen]
        loss = losses.listwise(logits, batch.owner, batch.item)
        if batch.soft is None:
            return loss
        soft = batch.soft.scatter(1, batch.query.unsqueeze(1), losses.NEVER)[:, : self.n_seen]
        return self._blend(loss, losses.listwise_soft(logits, soft, self.settings.temperature))

    def _blend(self, hard: Tensor, soft: Tensor) -> Tensor:
        share = self.settings.soft_share
        return share * soft + (1 - share) * hard

    def total(self, found: dict[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * loss for name, loss in found.items()]).sum()

    def training_step(self, batch: JointBatch, index: int) -> Tensor:
        found = self.losses(batch)
        loss = self.total(found)
        if not torch.isfinite(loss):
            bad = ", ".join(name for name, value in found.items() if not torch.isfinite(value))
            raise EdgerecError(f"the loss of {bad} is not a number at step {self.global_step}; lower learning_rate")
        self.log_dict({f"train/{name}": value.detach() for name, value in found.items()})
        return loss

    def validation_step(self, batch: JointBatch, index: int) -> None:
        found = self.losses(batch)
        for name, value in found.items():
            self.log(f"valid/{name}", value, on_epoch=True, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        values = self.trainer.callback_metrics
        total = sum(w * float(values[f"valid/{n}"]) for n, w in self.weights.items() if f"valid/{n}" in values)
        self.log("valid/loss", total)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        embeddings = [p for n, p in self.named_parameters() if "identity" in n or "bias.weight" in n]
        chosen = {id(p) for p in embeddings}
        others = [p for p in self.parameters() if id(p) not in chosen]
        optimizer = torch.optim.AdamW(
            [
                {"params": embeddings, "weight_decay": self.settings.weight_decay},
                {"params": others, "weight_decay": 0.01},
            ],
            lr=self.settings.learning_rate,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _learning_rate_at(self, step: int) -> float:
        """Factor of the learning rate: a line up over the first fifth, then half a cosine down to nothing."""
        done = min(step / (self.settings.epochs * self.steps), 1.0)
        return done / 0.2 + 0.01 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def exclude_history(logits: Tensor, requests: RequestBatch) -> Tensor:
    """`logits` (B, N) with the items of each request's history at `losses.NEVER`."""
    never = torch.zeros_like(logits).scatter_add(1, requests.item, requests.present.to(logits.dtype))
    return logits.masked_fill(never > 0, losses.NEVER)


class _Epochs(Callback):
    """Tells the batches which epoch it is, and the user how far training is."""

    def __init__(
        self, batches: JointBatches, progress: Progress, title: str, settings: LoopSettings, on_epoch: OnEpoch | None
    ) -> None:
        self.batches, self.progress, self.title, self.settings = batches, progress, title, settings
        self.on_epoch = on_epoch
        self.valid: dict[int, dict[str, float]] = {}

    def state_dict(self) -> dict[str, object]:
        return {"valid": self.valid}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.valid = state_dict["valid"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.batches.epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        prefix = "valid/"
        found = trainer.callback_metrics.items()
        values = {k.removeprefix(prefix): float(v) for k, v in found if k.startswith(prefix)}
        self.valid[trainer.current_epoch] = values
        shown = ", validation " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(values.items())) if values else ""
        epochs = self.settings.stop_after or self.settings.epochs
        self.progress.say(f"{self.title}: epoch {trainer.current_epoch + 1} of {epochs}{shown}")
        if self.on_epoch is not None:
            self.on_epoch(trainer.current_epoch + 1, values)


@dataclass(frozen=True)
class Fitted:
    """How a model was trained: epochs, and the validation loss of each task at the last of them."""

    epochs: int
    valid: dict[str, float]


def fit(
    model: torch.nn.Module,
    tasks: Sequence[Task],
    train: JointBatches,
    valid: JointBatches | None,
    settings: LoopSettings,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Train `model` in place; with `valid`, leave it at its best epoch. Goes on from `folder`'s last checkpoint.

    Returns:
        The epochs that the weights were trained for and the validation losses there.
    Raises:
        DataError: `train` is empty.
        EdgerecError: a loss is not a number.
    """
    steps = train.steps()
    if not steps:
        raise DataError(
            f"{title}: no visit and no row to learn from; the log has too few users for the [teacher] folds, or no row "
            "that counts for a task"
        )
    module = JointTraining(model, tasks, settings, steps, train.examples.n_seen)
    epochs = _Epochs(train, progress, title, settings, on_epoch)
    # Two of them: Lightning's own `save_last` leaves out the epochs that are no better.
    keep = ModelCheckpoint(folder, filename="best", monitor="valid/loss", enable_version_counter=False)
    newest = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    callbacks: list[Callback] = [epochs, newest] if valid is None else [epochs, newest, keep]
    if valid is not None and settings.patience is not None:
        callbacks.append(EarlyStopping("valid/loss", patience=settings.patience))
    logger = TensorBoardLogger(str(folder.parent), name="", version=folder.name + "-log")
    last = folder / "last.ckpt"
    with _quiet(), _interruptible():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision="16-mixed" if torch.cuda.is_available() else "32-true",
            max_epochs=settings.stop_after or settings.epochs,
            callbacks=callbacks,
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            num_sanity_val_steps=0,
            log_every_n_steps=20,
        )
        trainer.fit(
            module,
            DataLoader(train, batch_size=None),
            DataLoader(valid, batch_size=None) if valid is not None else None,
            ckpt_path=str(last) if _is_whole(last, progress) else None,
            weights_only=True,
        )
    if valid is not None and keep.best_model_path and not settings.keep_last:
        state = torch.load(keep.best_model_path, weights_only=True)
        module.load_state_dict(state["state_dict"])
        return Fitted(int(state["epoch"]) + 1, epochs.valid[int(state["epoch"])] if epochs.valid else {})
    return Fitted(trainer.current_epoch, epochs.valid.get(trainer.current_epoch - 1, {}))


def _is_whole(checkpoint: Path, progress: Progress) -> bool:
    """Is there a checkpoint to go on from? A damaged one is told, and training starts anew."""
    if not checkpoint.exists():
        return False
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        progress.say(f"{checkpoint}: damaged, so training starts anew")
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning says nothing of devices, other products or how the fit ended; warnings that it logs are still told."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is passed on. Lightning would end the process with the exit code of a failure, and ignore Ctrl-C since."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
