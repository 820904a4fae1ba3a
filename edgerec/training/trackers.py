"""Where the figures of a training are written while it runs: TensorBoard always, other trackers by setting."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

from torch.utils.tensorboard import SummaryWriter

from edgerec.config.stages import TrainingConfig
from edgerec.errors import MissingExtraError


class Tracker(Protocol):
    """One place for figures."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write figures of a step, by names such as "train/click"."""

    def close(self) -> None:
        """Write what is still buffered."""


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: Path, step: int) -> None:
        """Figures after `step`, of a run that was stopped, are hidden: they come again."""
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of a W&B project."""

    def __init__(self, project: str, title: str, folder: Path, settings: Mapping[str, object]) -> None:
        wandb = _installed("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(project=project, name=title, dir=str(folder), config=dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run at a tracking address or in a folder."""

    def __init__(self, address: str, title: str, settings: Mapping[str, object]) -> None:
        client = _installed("mlflow").MlflowClient(tracking_uri=address)
        experiment = client.get_experiment_by_name("edgerec")
        number = client.create_experiment("edgerec") if experiment is None else experiment.experiment_id
        self._client, self._run = client, client.create_run(number, run_name=title).info.run_id
        for name, value in settings.items():
            client.log_param(self._run, name, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def open_trackers(
    training: TrainingConfig, folder: Path, title: str, settings: Mapping[str, object], step: int
) -> list[Tracker]:
    """All that the settings ask for.

    Args:
        folder: of TensorBoard. title: of the run. settings: shown beside it. step: that training goes on from.
    Raises:
        MissingExtraError: the package of a tracker is not installed.
    """
    others: list[Tracker] = []
    if training.wandb is not None:
        others.append(WeightsAndBiases(training.wandb, title, folder, settings))
    if training.mlflow is not None:
        others.append(MLflow(training.mlflow, title, settings))
    return [TensorBoard(folder, step), *others]


def require_trackers(training: TrainingConfig) -> None:
    """Say before any work that a tracker's package is missing.

    Raises:
        MissingExtraError: it is.
    """
    for name in ("wandb", "mlflow"):
        if getattr(training, name) is not None:
            _installed(name)


def _installed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"[training] {name} is set, but {name} is not installed: pip install {name}") from error
