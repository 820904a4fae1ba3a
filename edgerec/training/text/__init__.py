"""Vectors of item texts from a pretrained language model: frozen, tuned on what is consumed together, or jointly."""

from edgerec.training.text.model import OFFLINE_PACKAGE, default_model
from edgerec.training.text.pairs import Pairs, co_consumed
from edgerec.training.text.reader import Source, TextReader
from edgerec.training.text.tuning import Tuning, tuned_folder, tuned_vectors
from edgerec.training.text.vectors import principal_components, text_vectors

__all__ = [
    "OFFLINE_PACKAGE",
    "Pairs",
    "Source",
    "TextReader",
    "Tuning",
    "co_consumed",
    "default_model",
    "principal_components",
    "text_vectors",
    "tuned_folder",
    "tuned_vectors",
]
