"""The linear model that boosted trees start from: with few positives it orders rows better than trees alone do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from edgerec.errors import DataError
from edgerec.files import replacing
from edgerec.tasks.history import Float

Kind = Literal["binary", "regression"]

L2 = 300.0
"""Weight of the squared coefficients against the summed loss, for standardised columns."""
BOUND = 4.0
"""Standard deviations beyond which a column is cut: one outlier must not decide."""
STEPS = 40
"""Most steps of L-BFGS."""


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of F columns, each float32 (F,)."""

    mean: Float
    std: Float

    @classmethod
    def of(cls, matrix: Float) -> Standard:
        """Of the rows (R, F)."""
        return cls(matrix.mean(axis=0, dtype=np.float64).astype(np.float32), np.maximum(matrix.std(axis=0), 1e-6))

    def apply(self, matrix: Float) -> Float:
        """A copy of (R, F) in standard deviations, cut at `BOUND`."""
        scaled = matrix - self.mean
        scaled /= self.std
        return np.clip(scaled, -BOUND, BOUND, out=scaled)


@dataclass(frozen=True)
class Linear:
    """Coefficients of standardised columns, float32 (F,), and a constant."""

    standard: Standard
    weight: Float
    bias: float

    @classmethod
    def fit(cls, standardised: Float, standard: Standard, labels: Float, kind: Kind) -> Linear:
        """Ridge regression, logistic for a binary task; deterministic for one number of threads."""
        x, y = torch.from_numpy(standardised), torch.from_numpy(labels.astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits if kind == "binary" else functional.mse_loss
        mean = float(labels.mean(dtype=np.float64))
        start = float(np.log((mean + 1e-6) / (1 - mean + 1e-6))) if kind == "binary" else mean
        weight = torch.zeros(x.shape[1], requires_grad=True)
        bias = torch.tensor(start, requires_grad=True)
        search = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            search.zero_grad()
            value = loss(x @ weight + bias, y) + L2 / max(len(y), 1) * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        search.step(closure)  # type: ignore[no-untyped-call]
        return cls(standard, weight.detach().numpy(), float(bias.detach()))

    def raw(self, matrix: Float) -> Float:
        """Log-odds or expectation of the rows (R, F), not standardised."""
        return self.raw_of(self.standard.apply(matrix))

    def raw_of(self, standardised: Float) -> Float:
        """The same of rows that `standard` was applied to."""
        raw: Float = standardised @ self.weight + np.float32(self.bias)
        return raw

    def save(self, path: Path) -> None:
        """Write the coefficients, whole or not at all."""
        values = {"mean": self.standard.mean, "std": self.standard.std, "weight": self.weight}
        with replacing(path) as part:
            save_file({**values, "bias": np.array([self.bias], np.float32)}, part)

    @classmethod
    def load(cls, path: Path) -> Linear:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            tensors = load_file(path)
            standard = Standard(tensors["mean"], tensors["std"])
            return cls(standard, tensors["weight"], float(tensors["bias"][0]))
        except (OSError, SafetensorError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be loaded ({first}); run the stage that writes it again") from None
