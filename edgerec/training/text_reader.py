"""A language model that goes on learning inside the joint training: a few texts of each step are read anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgerec.examples.text_vectors import Mode, Projection, TextSource, encode
from edgerec.progress import Silent
from edgerec.training.text_tuning import TOKENS, load_tuned

LEARNING_RATE: dict[Mode, float] = {"lora": 1e-4, "full": 1e-5}
"""Smaller than on pairs alone: what was tuned there should be refined, not forgotten."""


class TextReader(nn.Module):
    """Reads the texts of items, with gradient for some of them and without for all."""

    mean: Tensor
    axes: Tensor

    def __init__(self, source: TextSource) -> None:
        super().__init__()
        self.encoder = load_tuned(source.model, source.folder, source.mode).eval()
        self.at_once, self.learning_rate = source.at_once, LEARNING_RATE[source.mode]
        self.texts = list(source.texts)
        self.tokens = self.encoder.tokenize(self.texts, TOKENS)
        self.register_buffer("mean", torch.from_numpy(source.projection.mean), persistent=False)
        self.register_buffer("axes", torch.from_numpy(source.projection.axes), persistent=False)

    def train(self, mode: bool = True) -> TextReader:
        """Without dropout: so little is learned of a text that it would only be noise."""
        super().train(mode)
        self.encoder.eval()
        return self

    def fresh(self, wanted: Tensor) -> tuple[Tensor, Tensor] | None:
        """Items, at most `at_once` of the `wanted` ones that have a text, and their components (R, c); None for none.

        The others of a catalogue stay as they were when the epoch began: to read all of them would take a hundred
        times as long as all else in the step.
        """
        items = torch.unique(wanted)
        items = items[torch.randperm(len(items), device=items.device)]
        chosen = [i for i in items.tolist() if self.tokens[i]][: self.at_once]
        if not chosen:
            return None
        vectors = self.encoder([self.tokens[i] for i in chosen])
        return torch.tensor(chosen, device=items.device), (vectors - self.mean) @ self.axes

    def all(self) -> Tensor:
        """The components of all items, (N, c), without gradient; 0 where there is no text."""
        device = self.axes.device
        vectors = encode(self.encoder, self.texts, Silent())
        self.encoder.to(device)
        projection = Projection(self.mean.cpu().numpy(), self.axes.cpu().numpy())
        return torch.from_numpy(projection.apply(vectors)).to(device)

    def learned(self) -> dict[str, Tensor]:
        """The weights that training changes."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def load_learned(self, state: dict[str, Tensor]) -> None:
        """Take back what `learned` gave."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(state[name])
