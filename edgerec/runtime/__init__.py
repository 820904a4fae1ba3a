"""Recommendations on the device: standard library, numpy and onnxruntime; nothing here opens a socket."""

from edgerec.runtime.engine import Ranked
from edgerec.runtime.recommender import Recommender
from edgerec.runtime.results import Contribution, Explanation, Reason, Recommendation, Recommendations
from edgerec.runtime.store import Events

__all__ = [
    "Contribution",
    "Events",
    "Explanation",
    "Ranked",
    "Reason",
    "Recommendation",
    "Recommendations",
    "Recommender",
]
