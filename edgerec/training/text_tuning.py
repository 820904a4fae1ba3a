"""A language model tuned so that texts of items that are consumed together come close."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from edgerec.errors import DataError, EdgerecError, need
from edgerec.examples.text_pairs import Pairs
from edgerec.examples.text_vectors import Mode, cached, encode, vectors_key
from edgerec.models.text import LanguageModel
from edgerec.progress import Progress, Track
from edgerec.tasks.history import Float
from edgerec.training.trainer import interruptible, is_whole, quiet

TOKENS = 64
"""Of a text while tuning; titles are shorter, and what is read afterwards is not cut here."""


RANK = 8
"""Of the LoRA matrices."""


@dataclass(frozen=True)
class Tuning:
    """How a text model is tuned."""

    mode: Mode
    epochs: int
    seed: int
    accelerator: str = "auto"
    groups_per_epoch: int = 6_400
    """Of more groups, such as sessions, an epoch sees a random part."""
    groups: int = 32
    """Of a step."""
    members: int = 4
    """Texts of a group in a step, at most."""
    temperature: float = 0.05
    rank: int = RANK

    @property
    def learning_rate(self) -> float:
        """LoRA's few new weights start from nothing and stand a larger step."""
        return 1e-3 if self.mode == "lora" else 3e-5


def tuned_vectors(texts: list[str], model: str, pairs: Pairs, tuning: Tuning, cache: Path, progress: Progress) -> Float:
    """Unit vectors (n, width) of `texts` by `model` after tuning on `pairs`; zero where a text has no token.

    The tuned weights lie beside the vectors, as safetensors in a folder named by the vectors' key. The key depends on
    the texts, the model, the tuning and the pairs, so another split has vectors of its own. After a stop, tuning
    goes on from the last whole epoch.
    Args:
        cache: folder of vectors.
    Raises:
        ConfigError: see `text_vectors`.
        EdgerecError: the loss is not a number.
    """
    key = vectors_key(texts, model, asdict(tuning), pairs.hash())

    def compute() -> Float:
        encoder = LanguageModel.load(model)
        tune(encoder, pairs, tuning, cache / f"{key}-work", progress)
        encoder.backbone.save_pretrained(cache / key, safe_serialization=True)  # type: ignore[operator]
        vectors = encode(encoder, texts, progress)
        shutil.rmtree(cache / f"{key}-work", ignore_errors=True)
        return vectors

    return cached(cache, key, compute)


def tuned_folder(texts: list[str], model: str, pairs: Pairs, tuning: Tuning, cache: Path) -> Path:
    """Where `tuned_vectors` of the same arguments leaves the tuned weights."""
    return cache / vectors_key(texts, model, asdict(tuning), pairs.hash())


def load_tuned(model: str, folder: Path, mode: Mode) -> LanguageModel:
    """A model with the tuned weights of a folder; they can be trained on.

    Raises:
        DataError: they are missing or damaged.
    """
    encoder = LanguageModel.load(model)
    name = "adapter_model.safetensors" if mode == "lora" else "model.safetensors"
    try:
        weights = load_file(folder / name)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / name}: cannot be loaded ({error}); remove the folder and run again") from None
    if mode == "lora":
        from peft import set_peft_model_state_dict

        encoder.backbone = _with_lora(encoder.backbone, RANK)
        set_peft_model_state_dict(encoder.backbone, weights)
    else:
        encoder.backbone.load_state_dict(weights, strict=False)
        encoder.requires_grad_(True)
    return encoder


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
        encoder.backbone = _with_lora(encoder.backbone, tuning.rank)
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


def _with_lora(backbone: nn.Module, rank: int) -> nn.Module:
    """`backbone`, frozen, with low-rank matrices beside all its linear layers.

    Source: Hu et al., ICLR 2022; beside all layers: Dettmers et al., QLoRA, NeurIPS 2023, section 4.
    """
    peft: Any = need("peft", "train", 'text_tuning = "lora"')
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():  # of GPT-2's layers, which are stored transposed: it is handled
        warnings.simplefilter("ignore")
        wrapped: nn.Module = peft.get_peft_model(backbone, config)
    return wrapped


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
