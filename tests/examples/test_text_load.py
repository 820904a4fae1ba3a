"""What item texts are learned from, by part."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.data import prepare
from edgerec.examples.text_pairs import Pairs
from edgerec.files import user_cache
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tests import tiny
from tests.models.test_text import make_model


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_text_model_is_tuned_on_sessions_of_the_rows_that_may_be_learned_from(tmp_path, monkeypatch, part):
    seen: list[Pairs] = []
    monkeypatch.setattr(
        "edgerec.training.text_components.tuned_vectors",
        lambda texts, model, pairs, *_: seen.append(pairs) or np.zeros((len(texts), 16), np.float32),
    )
    tiny.write(tmp_path)
    config = tiny.config(
        tmp_path, data=tiny.settings()["data"] | {"items": {"text": ["item"]}}, teacher={"text_tuning": "lora"}
    )
    prepare(config, tmp_path / "run")

    data = Run(config, tmp_path / "run", Silent()).learning_data(part)

    clicked = data.train_log.labels["click"] > 0
    ids = data.dataset.items()["id"].to_list()
    expected: dict[int, set[str]] = {}
    for session, item in zip(
        data.train_log.session[clicked].tolist(), data.train_log.item[clicked].tolist(), strict=True
    ):
        expected.setdefault(session, set()).add(ids[item])
    groups = [{seen[0].texts[t] for t in seen[0].groups.row(g)} for g in range(len(seen[0].groups))]
    assert groups == [expected[session] for session in sorted(expected) if len(expected[session]) > 1]


def test_valid_and_test_never_share_tuned_vectors_and_all_runs_share_frozen_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEREC_CACHE", str(tmp_path / "cache"))
    tiny.write(tmp_path)
    data = tiny.settings()["data"] | {"items": {"text": ["shelf"]}}
    model = make_model(tmp_path / "model")
    for tuning, files in (("frozen", 0), ("lora", 2)):
        config = tiny.config(tmp_path, data=data, teacher={"text_model": model, "text_tuning": tuning})
        prepare(config, tmp_path / "run")
        for part in ("valid", "test"):
            Run(config, tmp_path / "run", Silent()).learning_data(part)
        assert len(list((tmp_path / "run" / "text").glob("*.npy"))) == files
        assert len(list((tmp_path / "cache" / "texts").glob("*.npy"))) == 1


def test_where_no_cache_can_be_written_the_run_keeps_the_vectors(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEREC_CACHE", str(tmp_path / "file"))

    assert user_cache("texts", tmp_path / "run") == tmp_path / "run"
