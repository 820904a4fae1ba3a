"""The training loop of teacher and student: one multi-task loss, on one device or several, stopped and resumed exactly.

Nothing random has a state here: the batch of a step and the random numbers inside it depend on the seed, the epoch and
the step's number. So a checkpoint is the weights, the optimizer and a position, and training that goes on from any of
them makes the same weights as training that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgerec.config.stages import Regression, TrainingConfig
from edgerec.errors import ConfigError, DataError, EdgerecError
from edgerec.examples.batches import JointBatch, JointBatches
from edgerec.progress import Progress, Silent, progress_for
from edgerec.tasks import Task
from edgerec.training import losses
from edgerec.training.adversarial import Adversary
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.group import Group, in_group
from edgerec.training.joint import JointTraining, Labels, Loss, Part, Terms, joined
from edgerec.training.resume import load_checkpoint, save_checkpoint
from edgerec.training.text_reader import TextReader
from edgerec.training.trackers import Tracker, open_trackers, require_trackers
from edgerec.training.weighting import WEIGHTINGS

LOG_EVERY = 20
"""Steps between two rows of the trackers."""
LARGEST_GRADIENT = 1.0
"""Norm to which longer gradients are cut."""
BEST = "best.safetensors"
LAST = "last.ckpt"
EARLY = "early.safetensors"


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn."""

    epochs: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    """Stop after this many epochs without a better validation loss; None runs all epochs."""
    terms: Terms = field(default_factory=Terms)
    """What is learned from."""
    stop_after: int | None = None
    """Stop the schedule of `epochs` after this many of them: repeats a run that was stopped early."""
    early: int | None = None
    """Keep the weights after this many epochs too, in `EARLY`."""
    keep_last: bool = False
    """Leave the model at its last epoch, even where another was better on valid."""
    regression: Regression = "huber"
    """How amounts are learned."""
    loss_weights: str = "fixed"
    """Of `WEIGHTINGS`."""
    adversarial: float = 0.0
    """Size of an `Adversary`; 0: none."""
    training: TrainingConfig = field(default_factory=TrainingConfig)


OnEpoch: TypeAlias = "Callable[[int, dict[str, float]], None]"
"""Called after each epoch (1, 2, ...) with the validation losses, of each task and "loss"; its error ends `fit`."""


@dataclass(frozen=True)
class Fitted:
    """How a model was trained: epochs, and the validation loss of each task at the last of them."""

    epochs: int
    valid: dict[str, float]


def fit(
    model: nn.Module,
    tasks: Sequence[Task],
    train: JointBatches,
    valid: JointBatches | None,
    settings: LoopSettings,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
    reader: TextReader | None = None,
) -> Fitted:
    """Train `model` in place; with `valid`, leave it at its best epoch. Goes on from `folder`'s last checkpoint.

    A `reader` learns along; what it makes of the texts at the end of an epoch is kept with the model's weights.
    Returns:
        The epochs that the weights were trained for and the validation losses there.
    Raises:
        DataError: `train` is empty.
        ConfigError: settings that this machine cannot follow, or that do not go together.
        MissingExtraError: a tracker's package is not installed.
        EdgerecError: a loss is not a number, or memory is short.
    """
    steps = train.steps()
    if not steps:
        raise DataError(
            f"{title}: no session and no row to learn from; the log has too few users for the [teacher] folds, or no row "
            "that counts for a task"
        )
    require_trackers(settings.training)
    processes = settings.training.devices * settings.training.num_nodes
    _refuse_what_needs_whole_gradients(settings, processes, reader is not None)
    if processes > 1 and on_epoch is not None:
        raise ConfigError("a search tries out networks in one process each; set [training] devices = 1")
    if processes > 1 and not isinstance(progress, Silent):
        progress = _OwnProgress()
    amounts = _losses_of_amounts(settings.regression, train)
    soft = train.examples.soft
    vectors = None if soft is None else soft.vectors
    module = JointTraining(model, tasks, train.examples.n_seen, settings.terms, amounts, reader, vectors)
    fitted = in_group(settings.training, _fit, module, train, valid, settings, steps, folder, progress, title, on_epoch)
    if valid is not None and not settings.keep_last:
        load_weights(model, folder / BEST)
    elif processes > 1:
        state = load_checkpoint(folder / LAST)
        assert state is not None
        model.load_state_dict(state["model"])
    return fitted


def _losses_of_amounts(regression: Regression, train: JointBatches) -> dict[str, Loss]:
    """The loss of each regression task; thresholds are those of all rows, whatever a batch or a process holds."""
    rows = train.examples.impressions
    names = [t.name for t in train.examples.tasks if t.kind == "regression"]
    if rows is None or regression == "huber":
        return {}
    if regression == "median":
        return dict.fromkeys(names, losses.median)
    shares = np.linspace(0, 1, losses.THRESHOLDS + 2)[1:-1]
    cuts = {name: np.unique(np.quantile(rows.labels[name], shares)).astype(np.float32) for name in names}
    return {name: _Ordinal(torch.from_numpy(cut)) for name, cut in cuts.items()}


@dataclass(frozen=True)
class _Ordinal:
    """`losses.ordinal` with its thresholds; a class, so that a process can be handed it."""

    thresholds: Tensor

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return losses.ordinal(prediction, target, self.thresholds.to(prediction.device))


def _refuse_what_needs_whole_gradients(settings: LoopSettings, processes: int, reads: bool) -> None:
    """Some settings go backward more than once a step, or alter the items of a step by what the whole batch holds."""
    needed = [f'loss_weights = "{settings.loss_weights}"'] if WEIGHTINGS[settings.loss_weights].one_process else []
    needed += ["adversarial"] if settings.adversarial else []
    needed += ["text_joint"] if reads else []
    if needed and (processes > 1 or settings.training.compile):
        other = "devices and num_nodes = 1" if processes > 1 else "compile = false"
        raise ConfigError(f"[teacher] {needed[0]} needs [training] {other}")


def _fit(
    group: Group,
    module: JointTraining,
    train: JointBatches,
    valid: JointBatches | None,
    settings: LoopSettings,
    steps: int,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None,
) -> Fitted:
    """`fit` in one of its processes."""
    if group.rank:
        progress = Silent()
    try:
        with torch.random.fork_rng([group.device] if group.device.type == "cuda" else []):
            return _Run(group, module, train, valid, settings, steps, folder, progress, title, on_epoch).whole()
    except (MemoryError, RuntimeError) as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise EdgerecError(f"[training] compile: {str(error).splitlines()[0]}; set compile = false") from error
        if not _is_out_of_memory(error):
            raise
        size = train.settings
        raise EdgerecError(
            f"{title}: out of memory on {group.device} with {size.sessions} sessions and {size.impressions} impressions a step; lower "
            "[teacher] sessions and impressions, and raise [training] accumulate to keep the sum, or set [training] precision = "
            '"bf16"'
        ) from error
    finally:
        module.at(0.0)
        module.cpu()


def _is_out_of_memory(error: Exception) -> bool:
    said = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in said
        or "not enough memory" in said
    )


class _OwnProgress(Silent):
    """Lines of a spawned process, which cannot be handed the terminal of another one."""

    def say(self, line: str) -> None:
        progress_for().say(line)


@dataclass
class _Position:
    """How far training is: whole epochs, batches of the epoch after them, and steps of the optimizer in all."""

    epoch: int = 0
    batch: int = 0
    updates: int = 0


@dataclass
class _Unchecked:
    """A batch whose losses, and the norm of the gradient of its step, may still turn out to be no numbers."""

    step: int
    batch: JointBatch
    losses: dict[str, Tensor]
    norm: Tensor | None = None


class _Run:
    """A model on its way through the epochs."""

    def __init__(
        self,
        group: Group,
        module: JointTraining,
        train: JointBatches,
        valid: JointBatches | None,
        settings: LoopSettings,
        steps: int,
        folder: Path,
        progress: Progress,
        title: str,
        on_epoch: OnEpoch | None,
    ) -> None:
        self.group, self.train, self.valid, self.settings = group, train, valid, settings
        self.folder, self.progress, self.title, self.on_epoch = folder, progress, title, on_epoch
        self.module = module.to(group.device)
        self.weighting = WEIGHTINGS[settings.loss_weights](module.weights).to(group.device)
        self.shared = module.shared()
        self.adversary = Adversary(settings.adversarial) if settings.adversarial else None
        self.parts = compiled(module, group.device) if settings.training.compile else module
        self.precision = precision_of(settings.training.precision, group.device)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=self.precision == torch.float16)
        self.optimizer = _optimizer(module, self.weighting, settings)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.updates = settings.epochs * -(-steps // settings.training.accumulate)
        self.at, self.history = _Position(), list[dict[str, float]]()
        self.trackers: list[Tracker] = []
        self.unchecked: _Unchecked | None = None
        self.saved_s = time.monotonic()

    # ---------------------------------------------------------------------------------------- epochs

    def whole(self) -> Fitted:
        """All epochs that are left."""
        self._resume()
        last = self.settings.stop_after or self.settings.epochs
        if self.group.rank == 0:
            log = self.folder.parent / f"{self.folder.name}-log"
            self.trackers = open_trackers(
                self.settings.training, log, self.title, _facts(self.settings, self.train.seed), self.at.updates
            )
        try:
            while self.at.epoch < last and not self._is_over():
                self._epoch()
                self._end_epoch(last)
        finally:
            for tracker in self.trackers:
                tracker.close()
        if self.valid is None or self.settings.keep_last:
            return Fitted(self.at.epoch, self.history[-1] if self.history else {})
        best = self._best()
        return Fitted(best + 1, self.history[best])

    def _is_over(self) -> bool:
        """Have the last `patience` epochs been no better?"""
        patience = self.settings.patience
        return self.valid is not None and patience is not None and len(self.history) - 1 - self._best() >= patience

    def _best(self) -> int:
        losses = [values["loss"] for values in self.history]
        return losses.index(min(losses)) if losses else -1

    def _epoch(self) -> None:
        """The rest of an epoch."""
        self.module.train()
        self.train.epoch = self.at.epoch
        added = 0
        for batch in self._batches(self.train.pass_from(self.at.batch)):
            self._learn(batch, self.at.batch + added)
            added += 1
            if added == self.settings.training.accumulate:
                self._update(added)
                added = 0
        if added:
            self._update(added)

    def _end_epoch(self, last: int) -> None:
        self._check()
        self.module.read_all()
        values = {} if self.valid is None else self._validate(self.valid)
        self.history.append(values)
        if self.valid is not None and self._best() == self.at.epoch and self.group.local_rank == 0:
            save_weights(self.module.model, self.folder / BEST)
        if self.at.epoch + 1 == self.settings.early and self.group.local_rank == 0:
            save_weights(self.module.model, self.folder / EARLY)
        self.at = _Position(self.at.epoch + 1, 0, self.at.updates)
        self._save()
        self._track({f"valid/{name}": value for name, value in values.items()})
        shown = ", validation " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(values.items())) if values else ""
        self.progress.say(f"{self.title}: epoch {self.at.epoch} of {last}{shown}")
        if self.on_epoch is not None:
            self.on_epoch(self.at.epoch, values)

    def _batches(self, batches: Iterator[JointBatch]) -> Iterator[JointBatch]:
        """This process's part of each batch, on its device."""
        for batch in batches:
            yield batch.part(self.group.rank, self.group.size).to(self.group.device)

    # ---------------------------------------------------------------------------------------- a step

    def _learn(self, batch: JointBatch, number: int) -> None:
        """Add the gradients of one batch."""
        self._draw_anew(self.at.epoch, number, self.group.rank + 1)
        self.module.at(self.at.updates / self.updates)
        if self.adversary is None:
            found = self._add_gradients(batch)
        else:
            with self.adversary.watched(self.module):
                found = self._add_gradients(batch)
            with self.adversary.attacked(self.module):
                self._add_gradients(batch)
        self._check()
        self.unchecked = _Unchecked(self.at.updates, batch, {name: loss.detach() for name, loss in found.items()})

    def _draw_anew(self, *place: int) -> None:
        """Random numbers that depend on the seed and this place in the training, and on nothing before it."""
        seed = int(np.random.SeedSequence((self.train.seed, *place)).generate_state(1)[0])
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed prepares for GPUs that may not be there, each time
        if self.group.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.group.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _add_gradients(self, batch: JointBatch) -> dict[str, Tensor]:
        found = self._losses(batch)
        self.weighting.backward(found, self.shared, self._backward)
        return found

    def _backward(self, loss: Tensor, retain: bool = False) -> None:
        self.scaler.scale(loss).backward(retain_graph=retain)  # type: ignore[no-untyped-call]

    def _losses(self, batch: JointBatch) -> dict[str, Tensor]:
        """The loss of each task over the parts of all processes, with the gradient of this process's part."""
        with self._autocast():
            parts: list[Part] = self.parts(batch)
        return joined(parts) if self.group.size == 1 else joined(self._over_all(parts))

    def _over_all(self, parts: Sequence[Part]) -> list[Part]:
        """The parts with means over the examples of all processes.

        The gradients of these means are this process's share: their sum over the processes is that of one process that
        had the whole batch.
        """
        places, device = self._places(), self.group.device
        none = torch.zeros((), device=device)
        own = {(p.task, p.labels): p for p in parts}
        counts = torch.stack([own[k].count.to(device) if k in own else none for k in places])
        whole = self.group.sum(counts.clone())
        means = [
            own[k].share * own[k].mean * (counts[i] / whole[i].clamp(min=1)) if k in own else none
            for i, k in enumerate(places)
        ]
        values = self.group.sum(torch.stack([m.detach() for m in means]))
        # A process whose part lacks a task still goes backward: by a gradient of 0.
        nothing = self.parameters[0].sum() * 0.0
        return [
            Part(task, labels, 1.0, nothing + means[i] + (values[i] - means[i].detach()), whole[i])
            for i, (task, labels) in enumerate(places)
            if whole[i] > 0
        ]

    def _places(self) -> list[tuple[str, Labels]]:
        """All parts that a loss may have, in an order that all processes share."""
        return [(name, labels) for name in self.module.weights for labels in get_args(Labels)]

    def _update(self, added: int) -> None:
        """One step of the optimizer along the mean gradient of `added` batches."""
        rate = self.settings.learning_rate * learning_rate_factor(self.at.updates / self.updates)
        for part in self.optimizer.param_groups:
            part["lr"] = rate * part["factor"]
        self._sum_gradients()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if added > 1:
            torch._foreach_mul_(gradients, 1 / added)
        norm = nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        assert self.unchecked is not None
        self.unchecked.norm = norm
        if self.at.updates % LOG_EVERY == 0 and self.trackers:
            values = {f"train/{name}": float(loss) for name, loss in self.unchecked.losses.items()}
            self._track({**values, "train/gradient_norm": float(norm), "train/learning_rate": rate})
        self.at = _Position(self.at.epoch, self.at.batch + added, self.at.updates + 1)
        if time.monotonic() - self.saved_s >= 60 * self.settings.training.checkpoint_minutes:
            self._check()
            self._save()

    def _sum_gradients(self) -> None:
        """Each gradient added up over the processes; the weighting's own ones are whole in each of them."""
        if self.group.size == 1:
            return
        there = torch.tensor([float(p.grad is not None) for p in self.parameters], device=self.group.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        flat = self.group.sum(torch.cat([there, *(g.flatten() for g in gradients)]))
        offset = len(there)
        for number, p in enumerate(self.parameters):
            if flat[number] > 0:
                p.grad = flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()

    # ---------------------------------------------------------------------------------------- valid

    def _validate(self, valid: JointBatches) -> dict[str, float]:
        """The mean loss of each task over the examples, and "loss", their sum by the tasks' own weights."""
        places = self._places()
        sums = torch.zeros(len(places), 2, dtype=torch.float64)
        self.module.eval()
        self._draw_anew(self.at.epoch)
        with torch.no_grad(), self._autocast():
            for batch in self._batches(iter(valid)):
                for part in self.parts(batch):
                    count = float(part.count)
                    total = part.share * float(part.mean) * count
                    sums[places.index((part.task, part.labels))] += torch.tensor([total, count], dtype=torch.float64)
        if self.group.size > 1:
            sums = self.group.sum(sums.to(self.group.device)).cpu()
        found: dict[str, float] = {}
        for (task, _), (total, count) in zip(places, sums.tolist(), strict=True):
            if count:
                found[task] = found.get(task, 0.0) + total / count
        loss = sum(self.module.weights[name] * value for name, value in found.items())
        if not math.isfinite(loss):
            raise EdgerecError(f"{self.title}: the validation loss is not a number; lower learning_rate")
        return {**found, "loss": loss}

    # ---------------------------------------------------------------------------------------- what is kept

    def _check(self) -> None:
        """Stop where the last batch led to what is no number.

        It is looked at one step late, so that a GPU need not wait for it, and always before weights are kept.
        """
        last, self.unchecked = self.unchecked, None
        if last is None:
            return
        bad = ""
        if not math.isfinite(float(sum(last.losses.values()))):
            bad = "loss of " + ", ".join(name for name, value in last.losses.items() if not torch.isfinite(value))
        elif last.norm is not None and not self.scaler.is_enabled() and not math.isfinite(float(last.norm)):
            bad = "gradient"
        if not bad:
            return
        number = "" if self.group.size == 1 else f"-{self.group.rank}"
        path = self.folder / f"bad-batch{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = last.batch.tensors()  # cloned: both parts may share those of their as-of time
        save_file({name: value.contiguous().cpu().clone() for name, value in tensors.items()}, path)
        raise EdgerecError(
            f"{self.title}: the {bad} is not a number at step {last.step}; lower learning_rate, or look for wrong "
            f"values in the batch, which is kept in {path}"
        )

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        if self.group.local_rank:
            return
        state = {
            "model": self.module.model.state_dict(),
            "weighting": self.weighting.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "at": asdict(self.at),
            "history": self.history,
            "reader": {} if self.module.reader is None else self.module.reader.learned(),
            "projection": {} if self.module.projection is None else self.module.projection.state_dict(),
        }
        save_checkpoint(self.folder / LAST, state)

    def _resume(self) -> None:
        """Go on from the first process's last checkpoint; a damaged one is told, and training starts anew."""
        state = None
        if self.group.rank == 0:
            try:
                state = load_checkpoint(self.folder / LAST)
            except ValueError as error:
                self.progress.say(f"{error}, so training starts anew")
            if state is not None and self.valid is not None and state["history"] and not (self.folder / BEST).exists():
                state = None  # killed while the folder was removed
        state = self.group.of_first(state)
        if state is None:
            return
        self.module.model.load_state_dict(state["model"])
        self.weighting.load_state_dict(state["weighting"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.module.reader is not None:
            self.module.reader.load_learned(state["reader"])
        if self.module.projection is not None:
            self.module.projection.load_state_dict(state["projection"])
        self.at, self.history = _Position(**state["at"]), state["history"]

    def _track(self, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(values, self.at.updates)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.group.device.type, self.precision, enabled=self.precision is not None)


def precision_of(setting: str, device: torch.device) -> torch.dtype | None:
    """The type of activations under [training] precision; None is 32 bits."""
    if setting == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[setting]


def compiled(module: JointTraining, device: torch.device) -> Callable[..., Any]:
    """By torch.compile, for batches of any size.

    On a CPU its kernels have one thread, matrix products aside: with more, those of PyTorch 2.13 write beyond their
    buffers where sizes vary, and the process dies.
    """
    options: dict[str, Any] | None = {"cpp.threads": 1} if device.type == "cpu" else None
    made: Callable[..., Any] = torch.compile(module, dynamic=True, options=options)
    return made


def learning_rate_factor(done: float) -> float:
    """Factor of the learning rate: a line up over the first fifth, then half a cosine down to nothing."""
    done = min(done, 1.0)
    return done / 0.2 + 0.01 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def _optimizer(module: JointTraining, weighting: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    embeddings = [p for n, p in named if n.startswith("model.") and ("identity" in n or "bias.weight" in n)]
    read = [p for n, p in named if n.startswith("reader.")]
    chosen = {id(p) for p in (*embeddings, *read)}
    slower = 1.0 if module.reader is None else module.reader.learning_rate / settings.learning_rate
    groups = [
        {"params": embeddings, "weight_decay": settings.weight_decay, "factor": 1.0},
        {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": 0.01, "factor": 1.0},
        {"params": read, "weight_decay": 0.01, "factor": slower},
        {"params": list(weighting.parameters()), "weight_decay": 0.0, "factor": 1.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=True)


def _facts(settings: LoopSettings, seed: int) -> dict[str, Any]:
    """Settings beside the figures of a tracker, flat."""
    facts = {name: value for name, value in vars(settings).items() if name != "training"}
    return {"seed": seed, **facts, **settings.training.model_dump(exclude={"wandb", "mlflow"})}
