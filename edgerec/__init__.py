"""From an interaction log to a recommender that runs inside an app. Importing this loads nothing else."""

__all__ = ["__version__"]

__version__ = "0.2.1"
