"""Judging anything that scores: metrics, closed-form baselines, reports."""
