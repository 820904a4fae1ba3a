"""From a log to a dataset: reading, cleaning, splitting, encoding."""

from edgerec.data.dataset import Dataset, Meta
from edgerec.data.prepare import PrepareReport, prepare

__all__ = ["Dataset", "Meta", "PrepareReport", "prepare"]
