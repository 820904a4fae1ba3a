"""What is predicted, and how a request becomes arrays. Needs numpy only."""

from edgerec.tasks.history import History, encode_history
from edgerec.tasks.parts import parts_of
from edgerec.tasks.past import PastSums, past_names, past_numbers, summarize_past
from edgerec.tasks.request import Categorical, Encoded, Multi, Numeric, RequestEncoder, UserPast, standardize
from edgerec.tasks.spec import Task, binary_tasks, scored_tasks
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

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
    "encode_history",
    "parts_of",
    "past_names",
    "past_numbers",
    "scored_tasks",
    "standardize",
    "summarize_past",
]
