"""Tuning of a text model on what is consumed together."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from edgerec.errors import EdgerecError
from edgerec.examples.requests import Ragged
from edgerec.examples.text_pairs import Pairs, co_consumed
from edgerec.examples.text_vectors import text_vectors
from edgerec.progress import Silent
from edgerec.training.text_contrast import in_batch_softmax
from edgerec.training.text_tuning import Tuning, tuned_vectors
from tests import tiny
from tests.models.test_text import Notes, make_model

HOUR_MS = 3_600_000
TEXTS = ["tea cup", "red oil", "红茶", "绿杯", ""]


def pairs_of(*groups: list[int], texts: list[str] = TEXTS) -> Pairs:
    sizes = np.cumsum([0, *map(len, groups)])
    return Pairs(tuple(texts), Ragged(sizes.astype(np.int64), np.concatenate(groups).astype(np.int64)))


TEA_WITH_RED_TEA = pairs_of(*[[0, 2], [1, 3]] * 32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model"))


def tuned(model: str, folder: Path, tuning: Tuning, pairs: Pairs = TEA_WITH_RED_TEA, notes: Silent | None = None):
    return tuned_vectors(TEXTS, model, pairs, tuning, folder, notes or Silent())


@pytest.mark.parametrize(("mode", "gain"), [("lora", 0.3), ("full", 0.02)])
def test_texts_that_are_consumed_together_come_closer_than_others(tmp_path, model, mode, gain):
    def lead(v: np.ndarray) -> float:
        return float(v[0] @ v[2] - v[0] @ v[3])

    notes = Notes()
    vectors = tuned(model, tmp_path, Tuning(mode, 2, seed=0, groups=2), notes=notes)

    assert lead(vectors) > gain + lead(text_vectors(TEXTS, model, tmp_path, Silent()))
    assert (vectors[4] == 0).all()
    assert len(notes.lines) == 2 and notes.lines[0].startswith(f"text model, {mode}: epoch 1 of 2, loss ")


@pytest.mark.parametrize(("mode", "file", "tensors"), [("lora", "adapter_model", 26), ("full", "model", 39)])
def test_tuned_weights_are_kept_as_safetensors(tmp_path, model, mode, file, tensors):
    tuned(model, tmp_path, Tuning(mode, 1, seed=0))

    (path,) = tmp_path.glob("*/*.safetensors")
    assert path.stem == file
    with safe_open(path, "pt") as weights:
        assert len(list(weights.keys())) == tensors
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".ckpt", ".bin")]


@pytest.mark.parametrize("family", ["roberta", "gpt2", "t5"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_other_families_are_tuned_too(tmp_path, family, mode):
    name = make_model(tmp_path / "model", family)

    vectors = tuned(name, tmp_path, Tuning(mode, 1, seed=0))

    frozen = text_vectors(TEXTS, name, tmp_path, Silent())
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0], abs=1e-5)
    assert np.abs(vectors - frozen).max() > 1e-5


def test_the_same_seed_gives_the_same_vectors_and_they_are_computed_once(tmp_path, model, monkeypatch):
    first = tuned(model, tmp_path / "a", Tuning("lora", 2, seed=1))

    assert np.array_equal(tuned(model, tmp_path / "b", Tuning("lora", 2, seed=1)), first)
    monkeypatch.setattr("edgerec.training.text_contrast.tune", lambda *_: pytest.fail("tuned twice"))
    assert np.array_equal(tuned(model, tmp_path / "a", Tuning("lora", 2, seed=1)), first)


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"epochs": 3}, {"mode": "full"}, {"temperature": 0.1}, {"pairs": pairs_of([0, 2], [1, 2])}],
    ids=str,
)
def test_other_settings_or_other_rows_have_vectors_of_their_own(tmp_path, model, change):
    change = dict(change)
    pairs = change.pop("pairs", TEA_WITH_RED_TEA)
    tuned(model, tmp_path, Tuning("lora", 2, seed=1))
    tuned(model, tmp_path, dataclasses.replace(Tuning("lora", 2, seed=1), **change), pairs)

    assert len(list(tmp_path.glob("*.npy"))) == 2


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_tuning_that_was_stopped_goes_on_and_ends_as_an_unbroken_one(tmp_path, model, mode):
    class Stopped(Exception):
        pass

    class Stopping(Silent):
        def say(self, line: str) -> None:
            if "epoch 2 of 3" in line:
                raise Stopped

    tuning = Tuning(mode, 3, seed=0, groups=8)
    unbroken = tuned(model, tmp_path / "unbroken", tuning)
    with pytest.raises(Stopped):
        tuned(model, tmp_path / "broken", tuning, notes=Stopping())
    notes = Notes()
    resumed = tuned(model, tmp_path / "broken", tuning, notes=notes)

    assert [line.partition(",")[2][:13] for line in notes.lines] == [f" {mode}: epoch {e}"[:13] for e in (2, 3)]
    assert np.array_equal(resumed, unbroken)


def test_without_pairs_the_model_stays_as_it_is_and_this_is_said(tmp_path, model):
    notes = Notes()

    vectors = tuned(model, tmp_path, Tuning("lora", 1, seed=0), pairs_of([0], [1], [4, 0]), notes)

    assert np.array_equal(vectors, text_vectors(TEXTS, model, tmp_path, Silent()))
    assert notes.lines == [
        "text_tuning: no two items with text are consumed together, so the text model stays as it is"
    ]


def test_a_loss_that_is_no_number_stops_with_what_to_do(tmp_path, model, monkeypatch):
    monkeypatch.setattr("edgerec.training.text_contrast.in_batch_softmax", lambda *_: torch.tensor(torch.nan))

    with pytest.raises(EdgerecError, match=r'not a number at step 0; set \[teacher\] text_tuning = "frozen"'):
        tuned(model, tmp_path, Tuning("lora", 1, seed=0))


# ------------------------------------------------------------------------------------------------ loss


def test_loss_by_hand_with_popularity_taken_off_and_the_own_text_no_candidate():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    text, group = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 0, 1, 1])
    log_share = torch.log(torch.tensor([0.5, 0.25, 0.25, 0.5]))

    loss = in_batch_softmax(vectors, text, group, log_share, temperature=0.5)

    e = math.e**2  # a cosine of 1, at this temperature
    # Text 0 does not see its double: candidates 1 (e * 4) and 2 (1 * 4). So do the others see both places of 0.
    expected = [
        4 * e / (4 * e + 4),  # 0 -> 1
        2 * e / (2 * e + 4 + 2 * e),  # 1 -> 0
        2 / (2 + 4 + 2),  # 2 -> 0, at the second place
        4 / (4 * e + 4),  # 0 at the second place -> 2
    ]
    assert float(loss) == pytest.approx(-np.log(expected).mean(), rel=1e-5)


# ------------------------------------------------------------------------------------------------ pairs


def test_texts_of_one_session_make_a_group_without_repeats_or_items_without_text():
    log = tiny.log_of([(0, 0, 0, 0), (0, 1, 1, 0), (0, 1, 2, 0), (0, 4, 3, 0), (1, 2, 0, 0), (1, 9, 1, 0)])
    log = dataclasses.replace(log, session=np.array([7, 7, 7, 7, 8, 8]))

    pairs = co_consumed(log, np.ones(6, bool), TEXTS, has_sessions=True)

    assert pairs.texts == ("red oil", "tea cup", "红茶", "绿杯")
    assert [pairs.groups.row(g).tolist() for g in range(len(pairs.groups))] == [[0, 1]]


def test_without_sessions_neighbours_of_one_user_within_a_day_make_a_pair():
    events = [(0, 0, 0, 0), (0, 1, 5 * HOUR_MS, 0), (0, 2, 40 * HOUR_MS, 0), (1, 3, 41 * HOUR_MS, 0)]

    pairs = co_consumed(tiny.log_of(events), np.ones(4, bool), TEXTS, has_sessions=False)

    assert [pairs.groups.row(g).tolist() for g in range(len(pairs.groups))] == [[0, 1]]


def test_what_was_shown_but_not_consumed_makes_no_pair():
    log = tiny.log_of([(0, 0, 0, 0), (0, 1, 1, 0), (0, 2, 2, 0)])

    pairs = co_consumed(log, np.array([True, False, True]), TEXTS, has_sessions=False)

    assert [[pairs.texts[t] for t in pairs.groups.row(g)] for g in range(len(pairs.groups))] == [["tea cup", "红茶"]]


def test_items_of_equal_text_are_one():
    log = tiny.log_of([(0, 0, 0, 0), (0, 1, 1, 0)])

    assert not len(co_consumed(log, np.ones(2, bool), ["tea", "tea"], has_sessions=False).groups)


def test_a_draw_takes_some_groups_and_of_each_some_different_texts():
    pairs = pairs_of([0, 1, 2, 3], [0, 1], [2, 3])

    drawn = pairs.draw(2, 3, np.random.default_rng(0))

    assert len(drawn) == 2 and drawn.sizes().max() <= 3
    assert all(len(set(drawn.row(g).tolist())) == drawn.sizes()[g] for g in range(2))
    assert pairs.probs() == pytest.approx(np.array([0.25 + 0.5, 0.25 + 0.5, 0.25 + 0.5, 0.25 + 0.5, 0]) / 3)
