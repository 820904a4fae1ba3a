"""From a log to a dataset: reads, cleans, splits and encodes it."""

from edgerec.data.dataset import Dataset, Meta
from edgerec.data.prepare import PrepareReport, prepare

__all__ = ["Dataset", "Meta", "PrepareReport", "prepare"]
