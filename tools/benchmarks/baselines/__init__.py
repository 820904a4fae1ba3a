"""Public baselines that the teacher must beat, for `tools/judge_teacher`: fitted on what the teacher may learn from.

Every setting is chosen on the valid part, then the model is fitted once on all that the judged part allows.
"""
