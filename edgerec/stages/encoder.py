"""Exports the text model of a run's teacher to INT8 ONNX."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgerec.compression.text_encoder import EncoderReport, export_text_encoder
from edgerec.data.dataset import Dataset
from edgerec.errors import ConfigError
from edgerec.examples.load import is_consumed
from edgerec.examples.text_pairs import co_consumed
from edgerec.models.text import LanguageModel, default_model
from edgerec.stages.run import Run
from edgerec.training.text_components import tuning_of
from edgerec.training.text_tuning import load_tuned, tuned_folder, tuned_vectors


def export_encoder(run: Run, out: Path, device: str) -> EncoderReport:
    """Write the text model of a run's teacher to the folder `out`; raises what `export_text_encoder` raises."""
    return export_text_encoder(partial(_of_teacher, run), run.config.teacher.text_components, out, device, run.progress)


def _of_teacher(run: Run) -> tuple[LanguageModel, list[str]]:
    """The text model of the run's teacher, and the texts of its items."""
    config, dataset, cache = run.config, Dataset.open(run.dataset), run.folder / "text"
    model = config.teacher.text_model or default_model()
    if not dataset.meta.text:
        raise ConfigError("[data.items] text: the items have no texts, so there is nothing to encode")
    if model is None:
        raise ConfigError('no [teacher] text_model is set and the extra "edgerec[text]" is missing')
    texts = dataset.items()["text"].fill_null("").to_list()
    tuning = tuning_of(config.teacher, config.seed, config.training.accelerator)
    if tuning is None:
        return LanguageModel.load(model), texts
    log = run.learning_data().train_log
    pairs = co_consumed(log, is_consumed(log, dataset.meta.tasks), texts, config.data.session is not None)
    tuned_vectors(texts, model, pairs, tuning, cache, run.progress)
    return load_tuned(model, tuned_folder(texts, model, pairs, tuning, cache), tuning.mode), texts
