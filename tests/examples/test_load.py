"""What is learned from knows nothing of what it is to predict, and equals what the device computes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.tasks import encode_history

DAY_MS = 86_400_000


def history_of(requests, r):
    history, which = requests.histories(np.array([r]))
    return history.item[slice(*history.offsets[which[0] :][:2])].tolist()


def expected_history(log, user, cut_ms, max_items=16):
    mine = (log.user == user) & (log.time_ms < cut_ms)
    zeros = np.zeros(int(mine.sum()), np.int64)
    return encode_history(zeros, log.item[mine], log.kind[mine], log.time_ms[mine], 1, max_items).item.tolist()


def test_a_visits_history_ends_before_it_begins(tiny_data):
    requests, log = tiny_data.train.sessions.requests, tiny_data.train_log
    assert len(requests) == 30 * 6

    for r in range(0, len(requests), 7):
        assert history_of(requests, r) == expected_history(log, requests.user[r], requests.time_ms[r])


def test_a_rows_history_ends_a_whole_day_before_it_or_more(tiny_data):
    requests, log = tiny_data.train.impressions.requests, tiny_data.train_log
    end = tiny_data.statistics.as_of_ms[-1]

    for r in range(0, len(requests), 31):
        cut = end - -(-(end - requests.time_ms[r]) // DAY_MS) * DAY_MS
        assert cut <= requests.time_ms[r]
        assert history_of(requests, r) == expected_history(log, requests.user[r], cut)


def test_where_each_users_last_event_is_asked_for_a_row_knows_all_before_its_own_time(hurried_data):
    requests, log = hurried_data.train.impressions.requests, hurried_data.train_log
    assert log.time_ms.max() - log.time_ms.min() < DAY_MS

    lengths = [len(history_of(requests, r)) for r in range(0, len(requests), 31)]
    for r in range(0, len(requests), 31):
        assert history_of(requests, r) == expected_history(log, requests.user[r], requests.time_ms[r])
    assert max(lengths) >= 10
    asked = hurried_data.evaluation.impressions.requests
    assert len(history_of(asked, 0)) >= 10


@pytest.mark.parametrize("kind", ["sessions", "impressions"])
def test_the_statistics_of_an_example_are_of_a_moment_before_it(tiny_data, kind):
    requests = getattr(tiny_data.train, kind).requests
    at = tiny_data.statistics.as_of_ms[requests.as_of]

    assert (at <= requests.time_ms).all()
    assert (requests.time_ms - at < 2 * DAY_MS).all()


def test_a_held_request_knows_all_of_its_users_fit_rows_and_none_of_the_part(tiny_data):
    for examples in (tiny_data.evaluation.sessions, tiny_data.evaluation.impressions):
        requests = examples.requests
        for r in range(0, len(requests), 5):
            assert history_of(requests, r) == expected_history(tiny_data.train_log, requests.user[r], np.inf)
        assert (requests.as_of == len(tiny_data.statistics.as_of_ms) - 1).all()


def test_valid_is_learned_from_train_alone(tiny_config, tiny_run):
    data = Run(tiny_config, tiny_run, Silent()).learning_data("valid")

    assert len(data.train_log) == data.dataset.meta.rows["train"]
    assert data.train_log.time_ms.max() < data.evaluation_log.time_ms.min()


def test_of_more_users_than_are_judged_an_even_part_is_with_all_of_its_rows(tiny_config, tiny_run, tiny_data):
    users = set(tiny_data.evaluation_log.user.tolist())
    few = tiny_config.model_copy(update={"evaluation": tiny_config.evaluation.model_copy(update={"users": 7})})
    before = Run(tiny_config, tiny_run, Silent())
    before.learning_data("test")
    data = Run(few, tiny_run, Silent(), before.loaded).learning_data("test")

    judged = set(data.evaluation.sessions.requests.user.tolist())
    assert data.judged == -(-len(users) // 7) > 1
    assert judged == set(sorted(users)[:: data.judged])
    whole = tiny_data.evaluation_log
    assert data.evaluation_log.row.tolist() == whole.row[np.isin(whole.user, list(judged))].tolist()
    assert data.whole_evaluation_log().row.tolist() == whole.row.tolist()
    assert data.train_log.row.tolist() == tiny_data.train_log.row.tolist()


def test_truth_is_what_was_clicked_and_for_new_items_what_was_not_had_before(tiny_data):
    sessions, log = tiny_data.train.sessions, tiny_data.train_log
    for r in range(0, len(sessions.requests), 7):
        user, time = sessions.requests.user[r], sessions.requests.time_ms[r]
        rows = (log.user == user) & (log.time_ms == time)
        clicked = log.item[rows & (log.labels["click"] > 0)].tolist()
        assert sessions.truth["next"].row(r).tolist() == clicked
        had = history_of(sessions.requests, r)
        assert sessions.truth["new"].row(r).tolist() == [i for i in clicked if i not in had]
        assert sessions.items.row(r).tolist() == log.item[rows].tolist()


def test_labels_of_rows_are_the_logs_and_targets_are_standardised_logs(tiny_data):
    rows, scale = tiny_data.train.impressions, tiny_data.scales["watch"]
    source = pl.concat([tiny_data.dataset.part("train"), tiny_data.dataset.part("valid")]).collect()
    by_row = dict(zip(source["row"], source["label.watch"], strict=True))

    watched = np.expm1(rows.labels["watch"].astype(np.float64) * scale.std + scale.mean)
    assert watched == pytest.approx([by_row[r] for r in rows.row], rel=1e-4, abs=1e-2)
    assert rows.labels["watch"].mean() == pytest.approx(0, abs=1e-4)
    assert rows.labels["watch"].std() == pytest.approx(1, abs=1e-4)


def test_training_and_the_device_give_the_same_arrays_for_the_same_request(tiny_data):
    encoder, log, requests = tiny_data.encoder, tiny_data.train_log, tiny_data.evaluation.sessions.requests
    own = tiny_data.evaluation_log
    for r in range(0, len(requests), 6):
        mine = log.user == requests.user[r]
        past = encoder.past(log.item[mine], log.kind[mine], log.time_ms[mine])
        same_user, same_time = own.user == requests.user[r], own.time_ms == requests.time_ms[r]
        row = int(np.flatnonzero(same_user & same_time)[0])
        values = {}
        for c, index in zip(encoder.categorical, own.categorical[row].tolist(), strict=True):
            if c.source != "time":  # the device reads the clock itself
                values[c.name] = c.values[index - 1] if index else None
        values |= {n.name: v for n, v in zip(encoder.numeric, own.numeric[row].tolist(), strict=True)}

        device = encoder.encode(past, int(requests.time_ms[r]), values)
        batch = requests.batch(np.array([r]))

        assert device.history.tolist() == batch.item[0].tolist()
        assert device.history_kind.tolist() == batch.kind[0].tolist()
        assert device.history_count.tolist() == batch.count[0].tolist()
        assert device.history_interval_h.tolist() == batch.interval_h[0].tolist()
        assert device.context_categorical.tolist() == batch.categorical[0].tolist()
        assert device.history_age_h == pytest.approx(batch.age_h[0].numpy(), rel=1e-6)
        assert device.context_numeric == pytest.approx(batch.numeric[0].numpy(), rel=1e-6, abs=1e-7)


def test_items_without_text_have_text_vectors_of_no_columns(tiny_data):
    assert tiny_data.features.text.shape == (40, 0)
    assert tiny_data.features.categorical.max() == 3  # shelves x, y, z
    assert tiny_data.features.numeric.shape == (40, 1)
