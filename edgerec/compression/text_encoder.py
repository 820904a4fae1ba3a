"""Exports the teacher's text model to INT8 ONNX with optimum, for build machines without torch."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.bundle import dump_json
from edgerec.devices import Profile, load_profile
from edgerec.errors import ConfigError, DataError, need
from edgerec.examples.text_vectors import Projection, encode, principal_components
from edgerec.models.text import LanguageModel
from edgerec.progress import Progress
from edgerec.runtime import texts as light
from edgerec.tasks.history import Float

CHECKED = 2_000
"""Most texts of the run on which the encoder is compared with torch."""
NEIGHBOURS = 10
"""Nearest texts whose overlap is reported."""
EXAMPLE = 16
"""Tokens of the example that the exporter traces."""
OPERATORS = {"avx512-vnni": "avx512_vnni", "avx512": "avx512", "avx2": "avx2", "armv8": "arm64"}
"""optimum's quantization scheme, by the beginning of a profile's instruction set."""


@dataclass(frozen=True)
class EncoderReport:
    """An exported encoder, compared with torch.

    Attributes:
        model_bytes, fp32_bytes: size in INT8 and in float32.
        texts: on how many it was compared.
        cosine, least_cosine: mean and least cosine of both vectors of a text.
        neighbours: overlap of each text's ten nearest texts, 0 to 1.
        ms, torch_ms: time for a text, on one thread.
    """

    folder: str
    model_bytes: int
    fp32_bytes: int
    texts: int
    cosine: float
    least_cosine: float
    neighbours: float
    ms: float
    torch_ms: float

    def lines(self) -> Sequence[str]:
        """For the screen."""
        return [
            f"text encoder: {self.model_bytes / 1e6:.1f} MB, {self.fp32_bytes / 1e6:.1f} MB in float32",
            f"compared with torch, {self.texts:,} texts: mean cosine {self.cosine:.4f}, least {self.least_cosine:.4f}",
            f"{self.neighbours:.1%} of the {NEIGHBOURS} nearest texts are the same",
            f"{self.ms:.2f} ms for a text, torch {self.torch_ms:.2f} ms",
        ]


def export_text_encoder(
    load: Callable[[], tuple[LanguageModel, list[str]]], components: int, out: Path, device: str, progress: Progress
) -> EncoderReport:
    """Write a text model to the folder `out` and compare it with torch on some texts.

    Args:
        load: gives the text model and the texts of the items.
        components: number of principal components of the vectors.
    Raises:
        ConfigError: the device cannot encode texts, the items have no texts, or no text model is installed.
        DataError: `out` is something else, or the run has no dataset.
        MissingExtraError: optimum is not installed.
    """
    need("optimum.onnxruntime", "train", "edgerec encoder")
    quantization = _quantization(load_profile(device))
    if out.exists() and any(out.iterdir()) and not (out / light.SETTINGS).exists():
        raise DataError(f"{out}: exists and is not a text encoder; choose another folder or remove it")
    encoder, texts = load()
    progress.say(f"text encoder: exporting {sum(p.numel() for p in encoder.parameters()):,} parameters")
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    fp32_bytes = _exported(encoder, quantization, fresh)
    some = [texts[i] for i in np.linspace(0, len(texts) - 1, min(CHECKED, len(texts))).astype(int)]
    start = time.perf_counter()
    theirs = encode(encoder, some, progress)
    torch_s = time.perf_counter() - start
    (fresh / light.SETTINGS).write_bytes(dump_json(_facts(encoder, principal_components(theirs, components))))
    start = time.perf_counter()
    ours = light.TextEncoder.open(fresh).encode(some)
    ours_s = time.perf_counter() - start
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    cosines = (ours * theirs).sum(1)[np.any(theirs != 0, axis=1)]
    return EncoderReport(
        folder=str(out),
        model_bytes=(out / light.MODEL).stat().st_size,
        fp32_bytes=fp32_bytes,
        texts=len(some),
        cosine=float(cosines.mean()),
        least_cosine=float(cosines.min()),
        neighbours=_same_neighbours(ours, theirs),
        ms=1000 * ours_s / len(some),
        torch_ms=1000 * torch_s / len(some),
    )


def _facts(encoder: LanguageModel, projection: Projection) -> dict[str, object]:
    """What `edgerec.runtime.texts` needs to know beside model and tokenizer."""
    padding = encoder.tokenizer.pad_token_id
    return {
        "format": light.FORMAT,
        "pooling": list(encoder.pooling),
        "max_tokens": encoder.max_tokens,
        "padding": 0 if padding is None else int(padding),
        "mean": projection.mean.tolist(),
        "axes": projection.axes.tolist(),
    }


def _quantization(profile: Profile) -> str:
    for start, name in OPERATORS.items():
        if profile.instruction_set.startswith(start):
            return name
    raise ConfigError(f"device {profile.name} encodes no texts: its instruction set is {profile.instruction_set}")


def _exported(encoder: LanguageModel, quantization: str, out: Path) -> int:
    """Write the INT8 model and its tokenizer; returns the bytes of the model in float32."""
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    backbone: Any = encoder.backbone
    if hasattr(backbone, "merge_and_unload"):  # LoRA's matrices become part of the weights
        backbone = backbone.merge_and_unload()
    with tempfile.TemporaryDirectory(prefix="text-") as scratch, _quiet():
        plain, exported = Path(scratch) / "plain", Path(scratch) / "onnx"
        backbone.save_pretrained(plain, safe_serialization=True)
        encoder.tokenizer.save_pretrained(plain)
        main_export(
            str(plain),
            exported,
            task="feature-extraction",
            local_files_only=True,
            do_validation=False,
            sequence_length=min(EXAMPLE, encoder.max_tokens),
        )
        settings = getattr(AutoQuantizationConfig, quantization)(is_static=False, per_channel=True)
        quantizer = ORTQuantizer.from_pretrained(exported, file_name="model.onnx")
        quantizer.quantize(save_dir=Path(scratch) / "int8", quantization_config=settings)
        shutil.copyfile(Path(scratch) / "int8" / "model_quantized.onnx", out / light.MODEL)
        encoder.tokenizer.backend_tokenizer.save(str(out / light.TOKENIZER))
        return sum(path.stat().st_size for path in exported.glob("model.onnx*"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of the exporters, all of which are expected."""
    import logging
    import warnings

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _same_neighbours(ours: Float, theirs: Float) -> float:
    """Mean overlap of each text's nearest texts by both kinds of vectors, 0 to 1."""
    k = min(NEIGHBOURS, len(ours) - 1)
    if k < 1:
        return 1.0

    def nearest(vectors: Float) -> list[set[int]]:
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -np.inf)
        return [set(row.tolist()) for row in np.argpartition(-likeness, k - 1, axis=1)[:, :k]]

    return float(np.mean([len(a & b) / k for a, b in zip(nearest(ours), nearest(theirs), strict=True)]))
