"""The training loop of teacher and student: joint loss, task weighting, several processes, calibration."""
