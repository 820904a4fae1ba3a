"""The training loop of teacher and student: one multi-task loss, on one device or several, stopped and resumed exactly.

Nothing random has a state here: the batch of a step and the random numbers inside it depend on the seed, the epoch and
the step's number. So a checkpoint is the weights, the optimizer and a position, and training that goes on from any of
them makes the same weights as training that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from edgerec.config.stages import Regression
from edgerec.errors import ConfigError, DataError, EdgerecError
from edgerec.examples.batches import JointBatch, JointBatches
from edgerec.progress import Silent, Track, progress_for
from edgerec.threads import ahead
from edgerec.training import losses
from edgerec.training.adversarial import Adversary
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.finite import FiniteCheck
from edgerec.training.group import Group, in_group
from edgerec.training.group_loss import GroupLoss
from edgerec.training.job import Fitted, LoopSettings, TrainingJob
from edgerec.training.joint import JointTraining, Loss
from edgerec.training.resume import load_checkpoint, save_checkpoint
from edgerec.training.trackers import Tracker, open_trackers, require_trackers
from edgerec.training.updates import ParameterUpdates
from edgerec.training.weighting import WEIGHTINGS

LOG_EVERY = 20
"""Steps between two rows of the trackers."""
BEST = "best.safetensors"
LAST = "last.ckpt"
EARLY = "early.safetensors"


def fit(job: TrainingJob) -> Fitted:
    """Train the model of `job` in place; with a validation split, leave it at its best epoch.

    Goes on from the last checkpoint in the job's folder. A language model that is trained along leaves its vectors of
    the texts, as they were at the end of an epoch, with the model's weights.
    Returns:
        The epochs that the weights were trained for and the validation losses there.
    Raises:
        DataError: there are no batches to learn from.
        ConfigError: settings that this machine cannot follow, or that do not go together.
        MissingExtraError: a tracker's package is not installed.
        EdgerecError: a loss is not a number, or memory is short.
    """
    settings, training = job.settings, job.settings.training
    require_trackers(training)
    _refuse_what_needs_whole_gradients(settings, job.processes, job.reader is not None)
    if job.processes > 1 and job.on_epoch is not None:
        raise ConfigError("a search tries out networks in one process each; set [training] devices = 1")
    if job.processes > 1 and not isinstance(job.progress, Silent):
        job = replace(job, progress=_OwnProgress())
    if not job.steps:
        raise DataError(
            f"{job.title}: no session and no impression to learn from; the log has too few users for the [teacher] "
            "folds, or no row that counts for a task"
        )
    soft = job.train.examples.soft
    module = JointTraining(
        job.model,
        job.tasks,
        job.train.examples.n_seen,
        settings.terms,
        _regression_losses(settings.regression, job.train),
        job.reader,
        None if soft is None else soft.vectors,
    )
    fitted = in_group(training, _fit, module, job)
    if job.valid is not None and not settings.keep_last:
        load_weights(job.model, job.folder / BEST)
    elif job.processes > 1:
        state = load_checkpoint(job.folder / LAST)
        assert state is not None
        job.model.load_state_dict(state["model"])
    return fitted


def _regression_losses(regression: Regression, train: JointBatches) -> dict[str, Loss]:
    """The loss of each regression task; thresholds are those of all rows, whatever a batch or a process holds."""
    impressions = train.examples.impressions
    names = [t.name for t in train.examples.tasks if t.kind == "regression"]
    if impressions is None or regression == "huber":
        return {}
    if regression == "median":
        return dict.fromkeys(names, losses.median)
    levels = np.linspace(0, 1, losses.THRESHOLDS + 2)[1:-1]
    cuts = {name: np.unique(np.quantile(impressions.labels[name], levels)).astype(np.float32) for name in names}
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


def _fit(group: Group, module: JointTraining, job: TrainingJob) -> Fitted:
    """`fit` in one of its processes."""
    if group.rank:
        job = replace(job, progress=Silent())
    try:
        with torch.random.fork_rng([group.device] if group.device.type == "cuda" else []):
            return _Loop(group, module, job).run()
    except (MemoryError, RuntimeError) as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise EdgerecError(f"[training] compile: {str(error).splitlines()[0]}; set compile = false") from error
        if not _is_out_of_memory(error):
            raise
        sizes = job.train.settings
        raise EdgerecError(
            f"{job.title}: out of memory on {group.device} with {sizes.sessions} sessions and {sizes.impressions} "
            "impressions a step; lower [teacher] sessions and impressions, and raise [training] accumulate to keep the "
            'sum, or set [training] precision = "bf16"'
        ) from error
    finally:
        module.at(0.0)
        module.cpu()


def _is_out_of_memory(error: Exception) -> bool:
    message = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in message
        or "not enough memory" in message
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


class _Loop:
    """A model on its way through the epochs, in one process of a group."""

    def __init__(self, group: Group, module: JointTraining, job: TrainingJob) -> None:
        self.group, self.job, self.settings = group, job, job.settings
        self.module = module.to(group.device)
        self.loss = GroupLoss(group, module, self.settings.training)
        total = self.settings.epochs * -(-job.steps // self.settings.training.accumulate)
        self.updates = ParameterUpdates(group, module, self.settings, total, self.loss.precision)
        self.adversary = Adversary(self.settings.adversarial) if self.settings.adversarial else None
        bad_batch = "bad-batch.safetensors" if group.size == 1 else f"bad-batch-{group.rank}.safetensors"
        self.finite = FiniteCheck(job.folder / bad_batch, job.title, not self.updates.scaler.is_enabled())
        self.at, self.history = _Position(), list[dict[str, float]]()
        self.trackers: list[Tracker] = []
        self.track: Track = Silent()
        self.saved_s = time.monotonic()

    def run(self) -> Fitted:
        """All epochs that are left."""
        self._resume()
        last = self.settings.stop_after or self.settings.epochs
        if self.at.updates:
            batch = f", step {self.at.batch + 1}" if self.at.batch else ""
            self.job.progress.say(f"{self.job.title}: goes on at epoch {self.at.epoch + 1} of {last}{batch}")
        if self.group.rank == 0:
            log = self.job.folder.parent / f"{self.job.folder.name}-log"
            facts = _facts(self.settings, self.job.train.seed)
            self.trackers = open_trackers(self.settings.training, log, self.job.title, facts, self.at.updates)
        try:
            with self.job.progress.track(last * self.job.steps, self.job.title) as self.track:
                self.track.advance(self.at.epoch * self.job.steps + self.at.batch)
                while self.at.epoch < last and not self._is_over():
                    self._epoch()
                    self._end_epoch(last)
        finally:
            for tracker in self.trackers:
                tracker.close()
        if self.job.valid is None or self.settings.keep_last:
            return Fitted(self.at.epoch, self.history[-1] if self.history else {})
        best = self._best()
        return Fitted(best + 1, self.history[best])

    def _is_over(self) -> bool:
        """Have the last `patience` epochs been no better?"""
        patience = self.settings.patience
        return self.job.valid is not None and patience is not None and len(self.history) - 1 - self._best() >= patience

    def _best(self) -> int:
        losses = [values["loss"] for values in self.history]
        return losses.index(min(losses)) if losses else -1

    def _epoch(self) -> None:
        """The rest of an epoch."""
        self.module.train()
        train = self.job.train
        train.epoch = self.at.epoch
        added = 0
        for batch in self.loss.own_parts(ahead(train.pass_from(self.at.batch))):
            self._learn(batch, self.at.batch + added)
            added += 1
            if added == self.settings.training.accumulate:
                self._update(added)
                added = 0
        if added:
            self._update(added)

    def _end_epoch(self, last: int) -> None:
        job = self.job
        self.finite.check()
        self.module.read_all()
        values = {} if job.valid is None else self._validate(job.valid)
        self.history.append(values)
        if job.valid is not None and self._best() == self.at.epoch and self.group.local_rank == 0:
            save_weights(self.module.model, job.folder / BEST)
        if self.at.epoch + 1 == self.settings.early and self.group.local_rank == 0:
            save_weights(self.module.model, job.folder / EARLY)
        self.at = _Position(self.at.epoch + 1, 0, self.at.updates)
        self._save()
        self._track({f"valid/{name}": value for name, value in values.items()})
        figures = ", validation " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(values.items())) if values else ""
        job.progress.say(f"{job.title}: epoch {self.at.epoch} of {last}{figures}")
        if job.on_epoch is not None:
            job.on_epoch(self.at.epoch, values)

    def _learn(self, batch: JointBatch, number: int) -> None:
        """Add the gradients of one batch."""
        self._draw_anew(self.at.epoch, number, self.group.rank + 1)
        self.module.at(self.at.updates / self.updates.total)
        if self.adversary is None:
            values = self._add_gradients(batch)
        else:
            with self.adversary.watched(self.module):
                values = self._add_gradients(batch)
            with self.adversary.attacked(self.module):
                self._add_gradients(batch)
        self.finite.check()
        self.finite.watch(self.at.updates, batch, values)

    def _draw_anew(self, *place: int) -> None:
        """Random numbers that depend on the seed and this place in the training, and on nothing before it."""
        seed = int(np.random.SeedSequence((self.job.train.seed, *place)).generate_state(1)[0])
        # torch.manual_seed would prepare for GPUs that may not be there, each time.
        torch.default_generator.manual_seed(seed)
        if self.group.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.group.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _add_gradients(self, batch: JointBatch) -> dict[str, Tensor]:
        values = self.loss.of(batch)
        self.updates.backward(values)
        return values

    def _update(self, added: int) -> None:
        """One step of the optimizer along the mean gradient of `added` batches."""
        update = self.updates.step(self.at.updates, added)
        step = self.finite.last
        assert step is not None
        step.norm = update.norm
        self.track.advance(added)
        if self.at.updates % LOG_EVERY == 0 and self.trackers:
            values = {f"train/{name}": float(loss) for name, loss in step.losses.items()}
            figures = {"train/gradient_norm": float(update.norm), "train/learning_rate": update.learning_rate}
            self._track({**values, **figures})
        self.at = _Position(self.at.epoch, self.at.batch + added, self.at.updates + 1)
        if time.monotonic() - self.saved_s >= 60 * self.settings.training.checkpoint_minutes:
            self.finite.check()
            self._save()

    def _validate(self, valid: JointBatches) -> dict[str, float]:
        """The mean loss of each task over the examples, and "loss", their sum by the tasks' own weights."""
        self._draw_anew(self.at.epoch)
        means = self.loss.validation(valid)
        loss = sum(self.module.weights[name] * value for name, value in means.items())
        if not math.isfinite(loss):
            raise EdgerecError(f"{self.job.title}: the validation loss is not a number; lower learning_rate")
        return {**means, "loss": loss}

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        if self.group.local_rank:
            return
        module = self.module
        state = {
            "model": module.model.state_dict(),
            **self.updates.state(),
            "at": asdict(self.at),
            "history": self.history,
            "reader": {} if module.reader is None else module.reader.learned(),
            "projection": {} if module.projection is None else module.projection.state_dict(),
        }
        save_checkpoint(self.job.folder / LAST, state)

    def _resume(self) -> None:
        """Go on from the first process's last checkpoint; a damaged one is reported, and training starts anew."""
        state, folder = None, self.job.folder
        if self.group.rank == 0:
            try:
                state = load_checkpoint(folder / LAST)
            except ValueError as error:
                self.job.progress.say(f"{error}, so training starts anew")
            if state is not None and self.job.valid is not None and state["history"] and not (folder / BEST).exists():
                state = None  # killed while the folder was removed
        state = self.group.of_first(state)
        if state is None:
            return
        self.module.model.load_state_dict(state["model"])
        self.updates.load(state)
        if self.module.reader is not None:
            self.module.reader.load_learned(state["reader"])
        if self.module.projection is not None:
            self.module.projection.load_state_dict(state["projection"])
        self.at, self.history = _Position(**state["at"]), state["history"]

    def _track(self, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(values, self.at.updates)


def _facts(settings: LoopSettings, seed: int) -> dict[str, object]:
    """Settings beside the figures of a tracker, flat."""
    facts = {name: value for name, value in vars(settings).items() if name != "training"}
    return {"seed": seed, **facts, **settings.training.model_dump(exclude={"wandb", "mlflow"})}
