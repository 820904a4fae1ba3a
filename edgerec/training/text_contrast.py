"""The training of a text model on pairs of texts, through Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from edgerec.errors import EdgerecError
from edgerec.examples.text_pairs import Pairs
from edgerec.models.text import LanguageModel
from edgerec.progress import Progress, Track
from edgerec.tasks.history import Float
from edgerec.training.text_tuning import TOKENS, Tuning, with_lora
from edgerec.training.trainer import interruptible, is_whole, quiet


def tune(encoder: LanguageModel, pairs: Pairs, tuning: Tuning, folder: Path, progress: Progress) -> None:
    """Tune `encoder` in place, without dropout; with "lora", its backbone is wrapped first.

    Raises:
        EdgerecError: the loss is not a number.
    """
    tokens = encoder.tokenize(pairs.texts, TOKENS) if pairs.texts else []
    pairs = pairs.where(np.array([bool(own) for own in tokens], bool))
    if not len(pairs.groups):
        progress.say("text_tuning: no two items with text are consumed together, so the text model stays as it is")
        return
    torch.manual_seed(tuning.seed)
    if tuning.mode == "lora":
        encoder.backbone = with_lora(encoder.backbone, tuning.rank)
    for parameter in encoder.parameters():
        parameter.requires_grad_(parameter.requires_grad or tuning.mode == "full")
    encoder.eval()  # so little is learned in so few steps that dropout would only be noise; Lightning leaves it so
    batches = _Batches(pairs, tuning)
    last = folder / "last.ckpt"
    title = f"text model, {tuning.mode}"
    with quiet(), interruptible(), progress.track(tuning.epochs * len(batches), title) as done:
        trainer = lightning.Trainer(
            accelerator=tuning.accelerator,
            devices=1,
            max_epochs=tuning.epochs,
            callbacks=[
                ModelCheckpoint(folder, filename="last", enable_version_counter=False),
                _EpochReport(batches, progress, done, title, tuning.epochs),
            ],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
        )
        trainer.fit(
            _Contrast(encoder, tokens, pairs.probs(), tuning, len(batches)),
            DataLoader(batches, batch_size=None),
            ckpt_path=str(last) if is_whole(last, progress) else None,
            weights_only=True,
        )


class _Batches(IterableDataset[Tensor]):
    """Texts and their groups, int64 (2, M), anew each epoch by seed and epoch."""

    def __init__(self, pairs: Pairs, tuning: Tuning) -> None:
        self.pairs, self.tuning, self.epoch = pairs, tuning, 0

    def __len__(self) -> int:
        return -(-min(len(self.pairs.groups), self.tuning.groups_per_epoch) // self.tuning.groups)

    def __iter__(self) -> Iterator[Tensor]:
        rng, t = np.random.default_rng((self.tuning.seed, self.epoch)), self.tuning
        drawn = self.pairs.draw(t.groups_per_epoch, t.members, rng)
        for rows in np.array_split(np.arange(len(drawn)), len(self)):
            part = drawn.take(rows)
            yield torch.from_numpy(np.stack([part.values, part.owner()]))


class _Contrast(lightning.LightningModule):
    """In-batch softmax over the other texts of a batch, both ways, corrected for their popularity."""

    def __init__(
        self, encoder: LanguageModel, tokens: list[list[int]], probs: Float, tuning: Tuning, steps: int
    ) -> None:
        super().__init__()
        self.encoder, self.tokens, self.tuning, self.steps = encoder, tokens, tuning, steps
        self.log_probs = torch.from_numpy(np.log(np.maximum(probs, 1e-9)))
        self.strict_loading = False  # a checkpoint holds only what is trained

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        text, group = batch
        places, inverse = text.unique(return_inverse=True)
        vectors = self.encoder([self.tokens[p] for p in places.tolist()])[inverse]
        loss = in_batch_softmax(vectors, text, group, self.log_probs.to(text.device)[text], self.tuning.temperature)
        if not torch.isfinite(loss):
            at = f"the loss of the text model is not a number at step {self.global_step}"
            raise EdgerecError(f'{at}; set [teacher] text_tuning = "frozen"')
        self.log("loss", loss.detach(), on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.tuning.learning_rate, weight_decay=0.01)
        total = self.tuning.epochs * self.steps
        warm = max(total // 10, 1)
        factor = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, (total - step) / max(total - warm, 1), 1.0)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}


def in_batch_softmax(vectors: Tensor, text: Tensor, group: Tensor, log_probs: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of the texts of each text's group among all other texts of the batch.

    The same text once more, wherever it stands, is no candidate. Popular texts are drawn as candidates more often, so
    the log of a text's probability to be drawn is taken off its logit.
    Args:
        vectors: unit vectors (M, W). text, group: int64 (M,). log_probs: (M,), log of how often each is drawn.
    Source: Yi et al., RecSys 2019, section 3; several positives as in Khosla et al., NeurIPS 2020, equation 2.
    """
    logits = vectors @ vectors.T / temperature - log_probs
    log_p = logits.masked_fill(text == text.unsqueeze(1), -1e9).log_softmax(1)
    partner = (group == group.unsqueeze(1)) & (text != text.unsqueeze(1))
    return -(log_p * partner).sum() / partner.sum()


class _EpochReport(Callback):
    """Sets the epoch of the batches, and reports progress."""

    def __init__(self, batches: _Batches, progress: Progress, done: Track, title: str, epochs: int) -> None:
        self.batches, self.progress, self.done, self.title, self.epochs = batches, progress, done, title, epochs

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.batches.epoch = trainer.current_epoch

    def on_train_batch_end(self, *_: object) -> None:
        self.done.advance()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        loss = float(trainer.callback_metrics["loss_epoch"])
        self.progress.say(f"{self.title}: epoch {trainer.current_epoch + 1} of {self.epochs}, loss {loss:.4f}")
