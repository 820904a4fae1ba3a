"""What is computed from the answers of all stages: differences, fidelity, calibration, beyond accuracy, replay."""

from __future__ import annotations

from collections.abc import Mapping

from edgerec import metrics
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.fidelity import ALL, fidelity
from edgerec.evaluation.report import STAGES
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluation_labels, true_items
from edgerec.examples.load import LearningData
from edgerec.metrics import ItemUsage, MetricTable
from edgerec.tasks import scored_tasks

__all__ = ["beyond_accuracy", "paired_differences", "reliability_bins", "replay_random_exposure", "stage_fidelity"]

REPLAYED = (1, 2, 5, 10)
"""Numbers of random items of which the best is shown; 1 is what the log earned."""


def paired_differences(table: MetricTable) -> MetricTable:
    """student - teacher, int8 - student, and int8 - each baseline, paired on the same requests and impressions."""
    baselines = [name for name in table if name not in STAGES]
    pairs = [("student", "teacher"), ("int8", "student"), *(("int8", name) for name in baselines)]
    return {
        f"{a} - {b}": {
            task: {m: table[a][task][m].minus(other) for m, other in values.items() if m in table[a][task]}
            for task, values in table[b].items()
            if task in table[a]
        }
        for a, b in pairs
    }


def stage_fidelity(
    answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> MetricTable:
    """What INT8 retains of the same weights in float32, and of the teacher: for everyone and by segment."""
    table = {"int8 ~ pruned": fidelity(answers["int8"], answers["pruned"], data, eval_requests)[ALL]}
    for segment, of_tasks in fidelity(answers["int8"], answers["teacher"], data, eval_requests).items():
        table["int8 ~ teacher" if segment == ALL else f"int8 ~ teacher, {segment}"] = of_tasks
    return {name: of_tasks for name, of_tasks in table.items() if of_tasks}


def beyond_accuracy(
    answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> MetricTable:
    """Novelty, diversity and popularity of the lists, by stage and retrieval task."""
    tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    if not tasks or not len(eval_requests.rows):
        return {}
    log, known = data.train_log, data.train_log.item < data.n_items
    usage = ItemUsage(log.user[known], log.item[known], data.n_items)
    table: MetricTable = {}
    for task in tasks:
        truths, has_truth = true_items(task, data, eval_requests)
        pasts = [past for past, use in zip(eval_requests.pasts, has_truth, strict=True) if use]
        for stage, of in answers.items():
            lists = of.lists[task.name][has_truth]
            table.setdefault(stage, {})[task.name] = metrics.beyond_accuracy_metrics(lists, truths, pasts, usage)
    return table


def replay_random_exposure(answers: Mapping[str, Answers], data: LearningData) -> MetricTable:
    """By stage and task, the mean label of the item that the stage scores highest among some random impressions."""
    impressions = data.evaluation.impressions
    if impressions is None:
        return {}
    tasks = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind != "retrieval"]
    user = impressions.requests.user
    return {
        stage: {
            t.name: {
                f"best of {m}": metrics.best_of(evaluation_labels(data, t), of.rows[:, i], user, m) for m in REPLAYED
            }
            for i, t in tasks
        }
        for stage, of in answers.items()
        if of.rows is not None and tasks
    }


def reliability_bins(answers: Mapping[str, Answers], data: LearningData) -> dict[str, dict[str, list[list[float]]]]:
    """By stage and binary task, the bins of a reliability plot: mean probability, rate, number of impressions."""
    tasks = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "binary"]
    return {
        stage: {t.name: metrics.reliability(evaluation_labels(data, t), of.rows[:, i]) for i, t in tasks}
        for stage, of in answers.items()
        if of.rows is not None and tasks
    }
