"""Vectors of item texts without torch, by the language model that `edgerec encoder` quantized to INT8.

Needs the package `tokenizers` beside what the runtime needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgerec.errors import BundleError, need
from edgerec.runtime.sessions import session

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # type: ignore[import-untyped]

__all__ = ["FORMAT", "MODEL", "SETTINGS", "TOKENIZER", "TextEncoder"]

FORMAT = 1
MODEL, TOKENIZER, SETTINGS = "encoder.onnx", "tokenizer.json", "encoder.json"
AT_ONCE = 32
"""Texts in a batch; they have similar lengths."""
Float = npt.NDArray[np.float32]


def _weighted(states: Float, weights: Float) -> Float:
    total: Float = (states * weights[:, :, None]).sum(1) / np.maximum(weights.sum(1, keepdims=True), 1)
    return total


def _mean_sqrt(states: Float, mask: Float) -> Float:
    total: Float = (states * mask[:, :, None]).sum(1) / np.sqrt(np.maximum(mask.sum(1, keepdims=True), 1))
    return total


def _maximum(states: Float, mask: Float) -> Float:
    largest: Float = np.where(mask[:, :, None] > 0, states, np.finfo(np.float32).min).max(1)
    return largest


def _last(states: Float, mask: Float) -> Float:
    of: Float = states[np.arange(len(states)), mask.sum(1).astype(np.int64) - 1]
    return of


POOLINGS: dict[str, Callable[[Float, Float], Float]] = {
    "cls_token": lambda states, mask: states[:, 0],
    "max_tokens": _maximum,
    "mean_tokens": _weighted,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean_tokens": lambda states, mask: _weighted(states, mask * mask.cumsum(1)),
    "lasttoken": _last,
}
"""As in `edgerec.models.text`, from states (B, L, W) and mask (B, L) to (B, W)."""


class TextEncoder:
    """Texts to unit vectors, and to the components that the teacher's networks read."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        pooling: Sequence[str],
        padding: int,
        mean: Float,
        axes: Float,
    ) -> None:
        self._session, self._tokenizer = model, tokenizer
        self._pooling, self._padding, self._mean, self._axes = tuple(pooling), padding, mean, axes
        self._known = {i.name for i in model.get_inputs()}

    @classmethod
    def open(cls, folder: str | Path, threads: int = 1) -> TextEncoder:
        """The encoder in a folder of `edgerec encoder`.

        Raises:
            BundleError: there is none, or it is damaged.
            MissingExtraError: `tokenizers` is not installed.
        """
        tokenizers = need("tokenizers", "train", "encoding texts")
        home = Path(folder)
        try:
            facts = json.loads((home / SETTINGS).read_text(encoding="utf-8"))
            if facts["format"] != FORMAT:
                raise BundleError(f"{home / SETTINGS}: format {facts['format']!r}, this edgerec reads {FORMAT}")
            tokenizer = tokenizers.Tokenizer.from_file(str(home / TOKENIZER))
            model = session(home / MODEL, threads)
            tokenizer.no_padding()
            tokenizer.enable_truncation(int(facts["max_tokens"]))
            mean, axes = (np.array(facts[name], np.float32) for name in ("mean", "axes"))
            return cls(model, tokenizer, facts["pooling"], int(facts["padding"]), mean, axes)
        except BundleError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise whatever they like at damaged files
            raise BundleError(
                f"{home}: is not a text encoder ({error}); write it again with: edgerec encoder"
            ) from error

    def encode(self, texts: Sequence[str]) -> Float:
        """Unit vectors (n, width); zero where a text has no token."""
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = [
            e.ids if 0 in e.special_tokens_mask and t.strip() else [] for e, t in zip(encodings, texts, strict=True)
        ]
        order = [i for i in sorted(range(len(tokens)), key=lambda i: len(tokens[i])) if tokens[i]]
        vectors: Float | None = None
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            part = self._encoded([tokens[i] for i in rows])
            if vectors is None:
                vectors = np.zeros((len(texts), part.shape[1]), np.float32)
            vectors[rows] = part
        return np.zeros((len(texts), len(self._mean)), np.float32) if vectors is None else vectors

    def components(self, texts: Sequence[str]) -> Float:
        """What the teacher's networks read of the texts, (n, components)."""
        vectors = self.encode(texts)
        out = np.zeros((len(vectors), self._axes.shape[1]), np.float32)
        some = np.any(vectors != 0, axis=1)
        out[some] = (vectors[some] - self._mean) @ self._axes
        return out

    def _encoded(self, tokens: Sequence[Sequence[int]]) -> Float:
        length = max(map(len, tokens))
        ids = np.full((len(tokens), length), self._padding, np.int64)
        mask = np.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)], mask[row, : len(own)] = own, 1
        positions = np.maximum(mask.cumsum(1) - 1, 0)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0, "position_ids": positions}
        states = self._session.run(None, {n: v for n, v in inputs.items() if n in self._known})[0]
        of = mask.astype(np.float32)
        pooled = np.concatenate([POOLINGS[name](states, of) for name in self._pooling], axis=1)
        unit: Float = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit
