"""A language model tuned so that texts of items that are consumed together come close."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edgerec.errors import DataError, need
from edgerec.examples.text_pairs import Pairs
from edgerec.examples.text_vectors import Mode, cached, encode, vectors_key
from edgerec.models.text import LanguageModel
from edgerec.progress import Progress
from edgerec.tasks.history import Float

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
        from edgerec.training.text_contrast import tune  # Lightning takes seconds to load

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

        encoder.backbone = with_lora(encoder.backbone, RANK)
        set_peft_model_state_dict(encoder.backbone, weights)
    else:
        encoder.backbone.load_state_dict(weights, strict=False)
        encoder.requires_grad_(True)
    return encoder


def with_lora(backbone: nn.Module, rank: int) -> nn.Module:
    """`backbone`, frozen, with low-rank matrices beside all its linear layers.

    Source: Hu et al., ICLR 2022; beside all layers: Dettmers et al., QLoRA, NeurIPS 2023, section 4.
    """
    peft: Any = need("peft", "train", 'text_tuning = "lora"')
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():  # of GPT-2's layers, which are stored transposed: it is handled
        warnings.simplefilter("ignore")
        wrapped: nn.Module = peft.get_peft_model(backbone, config)
    return wrapped
