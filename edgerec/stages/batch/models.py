"""Opens the model that answers: a bundle, or the trained models that it was built from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgerec.errors import ConfigError, need
from edgerec.stages.batch.columns import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgerec.config import Config
    from edgerec.evaluation.torch_engine import TorchEngine
    from edgerec.progress import Progress
    from edgerec.runtime import ArrayRecommender

__all__ = ["AskAs", "check_stage", "open_stage"]

AskAs: TypeAlias = "Callable[[str | None, int], None]"
"""Is called before a request with the user, by the log's id or None, and the time, in ms since 1970 UTC."""


def open_stage(
    bundle: Path, stage: str | None, run_dir: Path | None, progress: Progress
) -> tuple[ArrayRecommender, AskAs]:
    """Open a bundle; with `stage`, the models of an earlier stage of its run answer instead of the bundle's graphs.

    Args:
        run_dir: folder of the run; by default the folder that holds the bundle.
    Returns:
        The recommender, and a function to call before each request: a teacher may depend on who asks and when.
    Raises:
        BundleError, ConfigError, DataError: the bundle, the stage or the run cannot be used.
    """
    from edgerec.runtime import ArrayRecommender

    check_stage(stage, run_dir)
    rec = ArrayRecommender.of(bundle)
    if stage is None:
        return rec, lambda user, time_ms: None
    need("torch", "train", "--stage")
    run_folder = run_dir or rec.bundle.folder.parent
    engine = _torch_engine(stage, settings_of(rec, whole=True), run_folder, rec, progress)
    return rec.scored_by(engine), engine.ask_as


def check_stage(stage: str | None, run_dir: Path | None) -> None:
    """Refuse a run without a stage.

    Raises:
        ConfigError: only `run_dir` is given.
    """
    if stage is None and run_dir is not None:
        raise ConfigError("--run-dir is where --stage finds its models; give both or none")


def _torch_engine(stage: str, config: Config, folder: Path, rec: ArrayRecommender, progress: Progress) -> TorchEngine:
    """The engine of a stage, for the bundle that was built from it.

    Raises:
        ConfigError: there is no such stage, or the bundle was built from another run.
        DataError: the stage has not been run.
    """
    from edgerec.ensemble.scoring import STAGES
    from edgerec.evaluation.torch_engine import TorchEngine
    from edgerec.stages.run import Run

    if stage not in STAGES:
        raise ConfigError(f"--stage {stage}: there is no such stage; expected one of {', '.join(STAGES)}")
    run = Run(config, folder, progress)
    data = run.learning_data()
    if data.encoder != rec.encoder or data.n_items != rec.bundle.manifest.n_items:
        raise ConfigError(f"{rec.bundle.folder}: was not built from the run in {folder}; name its run with --run-dir")
    users = {user: index for index, user in enumerate(data.dataset.users()["id"].to_list())}
    return TorchEngine(run.scorer(stage, data), users, data.sequence)
