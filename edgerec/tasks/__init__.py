"""What is predicted, and how a request becomes arrays: one by one on a device, many at once with numpy in training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgerec.tasks.parts import parts_of
from edgerec.tasks.request import Categorical, Encoded, Multi, Numeric, RequestEncoder, UserPast, past_names
from edgerec.tasks.spec import Task, binary_tasks, scored_tasks
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from edgerec.tasks.history import History, encode_history
    from edgerec.tasks.past import PastSums, context_numbers, past_numbers, standardize, summarize_past

__all__ = [
    "MS_PER_DAY",
    "MS_PER_HOUR",
    "Categorical",
    "Encoded",
    "History",
    "Multi",
    "Numeric",
    "PastSums",
    "RequestEncoder",
    "Task",
    "UserPast",
    "binary_tasks",
    "context_numbers",
    "encode_history",
    "parts_of",
    "past_names",
    "past_numbers",
    "scored_tasks",
    "standardize",
    "summarize_past",
]

# Loaded on use: these need numpy, which a device may lack.
_LOADED_ON_USE = {
    "history": ("History", "encode_history"),
    "past": ("PastSums", "context_numbers", "past_numbers", "standardize", "summarize_past"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LOADED_ON_USE.items():
        if name in names:
            return getattr(import_module(f"edgerec.tasks.{module}"), name)
    raise AttributeError(f"module 'edgerec.tasks' has no attribute {name!r}")
