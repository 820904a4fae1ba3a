"""Vectors of item texts, computed once and cached, and their principal components."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch

from edgerec.errors import ConfigError
from edgerec.files import replacing
from edgerec.models.text import LanguageModel
from edgerec.progress import Progress
from edgerec.tasks.history import Float

Mode: TypeAlias = Literal["lora", "full"]
"""What of a text model is tuned: low-rank matrices beside its weights, or the weights themselves."""
Components: TypeAlias = Float
"""Of the items' texts, float32 (n_items, c); c is 0 without texts."""
TOKENS_AT_ONCE = 8192
"""Of a batch, padding included: bounds memory whatever the texts' length."""
TEXTS_AT_ONCE = 64
METHOD = 2
"""Part of the keys of cached vectors; goes up by one whenever vectors come out differently."""


def text_vectors(texts: Sequence[str], model: str, cache: Path, progress: Progress) -> Float:
    """Unit vectors (n, width) of `texts` by a frozen model; a text without a token has the zero vector.

    Args:
        model: folder or hub name of a `transformers` encoder or decoder with a safetensors file.
        cache: folder of vectors, by the hash of model and texts.
    Raises:
        ConfigError: the model cannot be loaded, or its vectors are not finite.
    """
    return cached(cache, vectors_key(texts, model), lambda: encode(LanguageModel.load(model), texts, progress))


def vectors_key(texts: Sequence[str], model: str, *more: object) -> str:
    """A name for the vectors of these texts by this model, as its weights now are, and by whatever `more` says."""
    path = Path(model)
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.glob("*.*")) if p.is_file()]
    return hashlib.sha256(json.dumps([METHOD, model, files, more, *texts]).encode()).hexdigest()[:16]


def cached(cache: Path, key: str, compute: Callable[[], Float]) -> Float:
    """What `cache` holds under `key`; computed and written if there is nothing."""
    path = cache / f"{key}.npy"
    if path.exists():
        stored: Float = np.load(path, allow_pickle=False)
        return stored
    vectors = compute()
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
    return vectors


def encode(encoder: LanguageModel, texts: Sequence[str], progress: Progress) -> Float:
    """Unit vectors (n, width) of `texts`; zero where there is no token. Says once how many texts are cut."""
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    written = [i for i, text in enumerate(texts) if text.strip()]
    tokens = dict(zip(written, encoder.tokenize([texts[i] for i in written]) if written else [], strict=True))
    cut = sum(len(t) >= encoder.max_tokens for t in tokens.values())
    if cut:
        progress.say(f"{cut} item texts fill the model's {encoder.max_tokens} tokens; what is beyond is not read")
    vectors = np.zeros((len(texts), encoder.width), np.float32)
    with torch.inference_mode(), progress.track(sum(map(bool, tokens.values())), "item texts") as done:
        for rows in _batches({i: len(t) for i, t in tokens.items() if t}):
            vectors[rows] = encoder([tokens[i] for i in rows]).float().cpu().numpy()
            done.advance(len(rows))
    if not np.isfinite(vectors).all():
        raise ConfigError("[teacher] text_model: its vectors are not finite; take another model")
    return vectors


def _batches(lengths: dict[int, int]) -> list[list[int]]:
    """Texts of like length together: little time is spent on padding."""
    batches: list[list[int]] = []
    for i in sorted(lengths, key=lambda i: lengths[i]):
        most = min(TEXTS_AT_ONCE, TOKENS_AT_ONCE // lengths[i])  # the longest of a batch comes last
        if batches and len(batches[-1]) < most:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


@dataclass(frozen=True)
class Projection:
    """From vectors to components: ``(vector - mean) @ axes``.

    Attributes:
        mean: float32 (width,). axes: float32 (width, components).
    """

    mean: Float
    axes: Float

    def apply(self, vectors: Float) -> Float:
        """(n, width) -> float32 (n, components); zero vectors, of items without text, stay zero."""
        out = np.zeros((len(vectors), self.axes.shape[1]), np.float32)
        some = np.any(vectors != 0, axis=1)
        out[some] = (vectors[some] - self.mean) @ self.axes
        return out


ROUNDING = 1e-6
"""Unit vectors that are no further apart are the same, but for rounding, which must not become components."""


def principal_components(vectors: Float, components: int) -> Projection:
    """Onto the leading components of the non-zero vectors (n, width), which come out with unit mean square.

    The mean is that of the non-zero rows, so an item without text stands at the mean of those that have one.
    """
    some = np.any(vectors != 0, axis=1)
    components = min(components, vectors.shape[1], max(int(some.sum()) - 1, 0))
    if not components:
        return Projection(np.zeros(vectors.shape[1], np.float32), np.zeros((vectors.shape[1], 0), np.float32))
    mean = vectors[some].mean(axis=0)
    centred = vectors[some] - mean
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes = axes[:, ::-1][:, :components]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(components)])  # eigenvectors have no sign
    size = float(np.sqrt(((centred @ axes) ** 2).mean()))
    axes = axes / size if size > ROUNDING else np.zeros_like(axes)
    return Projection(mean.astype(np.float32), axes.astype(np.float32))


@dataclass(frozen=True)
class TextSource:
    """What a text model that learns along starts from.

    Attributes:
        texts: of the N items, "" where there is none.
        model: folder or hub name; `folder` holds its tuned weights.
        projection: from its vectors to the components that the networks read.
        at_once: texts that are read in each step.
    """

    texts: Sequence[str]
    model: str
    folder: Path
    mode: Mode
    projection: Projection
    at_once: int
