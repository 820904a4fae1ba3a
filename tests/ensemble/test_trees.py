"""A booster's trees in ONNX Runtime answer as LightGBM does, wherever a number lies and wherever one is missing."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from edgerec.ensemble.trees import Trees


@pytest.mark.parametrize("learned_from_missing", [True, False])
@pytest.mark.parametrize("rows", [30, 3000])
def test_answers_are_those_of_lightgbm(learned_from_missing, rows):
    rng = np.random.default_rng(rows)
    features = rng.normal(size=(rows, 6)).astype(np.float32)
    features[:, 1], features[:, 2] = np.round(features[:, 1] * 2), features[:, 2] * 1e30
    features[rng.random(features.shape) < 0.1] = np.nan if learned_from_missing else 0
    label = np.nan_to_num(features[:, 0]) + rng.normal(size=rows) > 0.3
    parameters = {"objective": "lambdarank", "min_data_in_leaf": 5, "verbose": -1}
    dataset = lightgbm.Dataset(features, label.astype(np.int8), group=[10] * (rows // 10))
    booster = lightgbm.train(parameters, dataset, 20)

    # The numbers around the thresholds, which float32 does not hold exactly, and missing ones.
    splits = booster.trees_to_dataframe().dropna(subset="split_feature")
    asked = rng.normal(size=(rows, 6)).astype(np.float32)
    for column in range(6):
        values = splits.threshold[splits.split_feature == f"Column_{column}"].to_numpy(np.float32)
        if len(values):
            nearest = rng.choice(values, rows)
            beside = np.nextafter(nearest, rng.choice(np.float32([-9e37, 9e37]), rows))
            asked[:, column] = np.where(rng.random(rows) < 0.5, nearest, beside)
    asked[rng.random(asked.shape) < 0.1] = np.nan
    np.testing.assert_allclose(Trees(booster)(asked), booster.predict(asked), rtol=1e-5, atol=1e-5)


def test_trees_of_one_leaf_answer():
    dataset = lightgbm.Dataset(np.zeros((20, 2), np.float32), np.tile([0, 1], 10), group=[20])
    booster = lightgbm.train({"objective": "lambdarank", "verbose": -1}, dataset, 3)

    assert Trees(booster)(np.zeros((2, 2), np.float32)).tolist() == booster.predict(np.zeros((2, 2))).tolist()
