"""Metrics of anything that scores items or rows, and the closed-form baselines that every model must beat.

A metric is an `Estimate`: its value, its standard error, and what a paired comparison of two models needs.
"""

from edgerec.metrics.baselines import (
    MAX_DENSE_ITEMS,
    co_counts,
    related_by_sessions,
    top_k,
)
from edgerec.metrics.beyond_accuracy import ItemUsage, beyond_accuracy_metrics, most_frequent_items
from edgerec.metrics.estimate import Array, Estimate, Floats, mean
from edgerec.metrics.off_policy import OffPolicy, best_of, doubly_robust, estimate_policy, ips, snips
from edgerec.metrics.pointwise import (
    auc,
    auc_metrics,
    binary_metrics,
    ece,
    gauc,
    logloss,
    mae,
    regression_metrics,
    reliability,
    xauc,
)
from edgerec.metrics.popularity import HALF_LIVES_H, Popularity, decayed_counts, duration, popularity_before
from edgerec.metrics.ranked_lists import MAX_RANK, coverage, hits, overlap, ranking_metrics, related_metrics
from edgerec.metrics.results import (
    MetricTable,
    ModelMetrics,
    TaskMetrics,
    main_metric,
    metrics_from_json,
    metrics_to_json,
)
from edgerec.metrics.sequential_test import Verdict, always_valid

__all__ = [
    "HALF_LIVES_H",
    "MAX_DENSE_ITEMS",
    "MAX_RANK",
    "Array",
    "Estimate",
    "Floats",
    "ItemUsage",
    "MetricTable",
    "ModelMetrics",
    "OffPolicy",
    "Popularity",
    "TaskMetrics",
    "Verdict",
    "always_valid",
    "auc",
    "auc_metrics",
    "best_of",
    "beyond_accuracy_metrics",
    "binary_metrics",
    "co_counts",
    "coverage",
    "decayed_counts",
    "doubly_robust",
    "duration",
    "ece",
    "estimate_policy",
    "gauc",
    "hits",
    "ips",
    "logloss",
    "mae",
    "main_metric",
    "mean",
    "metrics_from_json",
    "metrics_to_json",
    "most_frequent_items",
    "overlap",
    "popularity_before",
    "ranking_metrics",
    "regression_metrics",
    "related_by_sessions",
    "related_metrics",
    "reliability",
    "snips",
    "top_k",
    "xauc",
]
