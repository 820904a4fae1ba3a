"""Recommendations on the device: the standard library alone, with the native engine; nothing here opens a socket."""

from edgerec.runtime.arrays import ArrayRecommender
from edgerec.runtime.engine import Ranked, Scoring
from edgerec.runtime.events import Events
from edgerec.runtime.recommender import Recommender
from edgerec.runtime.results import Contribution, Explanation, Reason, Recommendation, Recommendations

__all__ = [
    "ArrayRecommender",
    "Contribution",
    "Events",
    "Explanation",
    "Ranked",
    "Reason",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "Scoring",
]
