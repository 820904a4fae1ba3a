"""Public baselines beside teacher and student: fitted on what the teacher may learn from.

Every setting is chosen on the valid split, then the model is fitted once on all that the evaluation split allows.
"""
