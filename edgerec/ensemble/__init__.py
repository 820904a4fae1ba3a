"""Closed-form and tree models that judge beside the teacher's network, blended into one score a task."""
