"""Closed-form models, re-rankers and boosted trees beside the teacher's networks, blended into one score a task."""
