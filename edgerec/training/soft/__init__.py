"""What a teacher says of the examples that a student learns from: made once, kept in Parquet, read back by batch."""

from edgerec.training.soft.lists import SoftBatch, SoftLabels, SoftLists, Vectors

__all__ = ["SoftBatch", "SoftLabels", "SoftLists", "Vectors"]
