"""Off-policy estimators against the truth of simulations, and against the formulas that other libraries use."""

import numpy as np
import pytest

from edgerec.errors import DataError
from edgerec.metrics import best_of, estimate_policy

ARMS = 6


def world(seed, rows=8000, users=None):
    """Logged choices of an epsilon-greedy policy, a target policy, and the target's true value."""
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(rows, 2))
    coefficients = np.random.default_rng(99).normal(size=(ARMS, 2))
    chance = 1 / (1 + np.exp(-(context @ coefficients.T - 0.5)))
    logging = np.full((rows, ARMS), 0.5 / ARMS)
    logging[np.arange(rows), (context @ coefficients[:, ::-1].T).argmax(1)] += 0.5
    target = np.exp(context @ coefficients.T)
    target /= target.sum(1, keepdims=True)
    arm = (rng.random((rows, 1)) > logging.cumsum(1)).sum(1).clip(max=ARMS - 1)
    reward = (rng.random(rows) < chance[np.arange(rows), arm]).astype(float)
    guess = np.clip(chance + 0.1, 0, 1)  # a reward model that is off
    at = np.arange(rows)
    return {
        "reward": reward, "logged": logging[at, arm], "target": target[at, arm], "predicted": guess[at, arm],
        "expected": (target * guess).sum(1), "user": users,
    }  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    """The target's value, from a million draws of its own chances."""
    found = world(12345, 200_000)
    rng = np.random.default_rng(5)
    context = rng.normal(size=(1_000_000, 2))
    coefficients = np.random.default_rng(99).normal(size=(ARMS, 2))
    chance = 1 / (1 + np.exp(-(context @ coefficients.T - 0.5)))
    target = np.exp(context @ coefficients.T)
    target /= target.sum(1, keepdims=True)
    value = float((target * chance).sum(1).mean())
    assert estimate_policy(**found).values["dr"].value == pytest.approx(value, abs=0.01)
    return value


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_95_percent_intervals_hold_the_truth_in_93_to_97_of_100_simulations(name, truth):
    held = 0
    for seed in range(500):
        found = estimate_policy(**world(seed)).values[name]
        held += abs(found.value - truth) <= 1.96 * found.se
    assert 0.93 <= held / 500 <= 0.97


def test_rows_of_one_user_are_one_draw(truth):
    single = world(1, 500)
    same = {k: np.repeat(v, 20) for k, v in single.items() if v is not None} | {"user": np.repeat(np.arange(500), 20)}
    once, twenty = estimate_policy(**single).values, estimate_policy(**same).values
    for name, found in once.items():
        assert twenty[name].value == pytest.approx(found.value) and twenty[name].se == pytest.approx(found.se)


def test_the_formulas_are_those_of_the_open_bandit_pipeline():
    # Its definitions, written out row by row: Saito et al., NeurIPS 2021, appendix B.
    w = world(7, 50)
    total = {"ips": 0.0, "dr": 0.0}
    weights = weighted = 0.0
    for r, logged, target, predicted, expected in zip(
        w["reward"], w["logged"], w["target"], w["predicted"], w["expected"], strict=True
    ):
        total["ips"] += target / logged * r
        total["dr"] += expected + target / logged * (r - predicted)
        weights += target / logged
        weighted += target / logged * r
    found = estimate_policy(**w).values
    assert found["ips"].value == pytest.approx(total["ips"] / 50)
    assert found["dr"].value == pytest.approx(total["dr"] / 50)
    assert found["snips"].value == pytest.approx(weighted / weights)


def test_the_figures_are_those_of_the_open_bandit_pipeline():
    # Of this log, by its version 0.4.1 (InverseProbabilityWeighting, SelfNormalized..., DoublyRobust).
    rng = np.random.default_rng(0)
    n = 2000
    logging, target = rng.dirichlet(np.ones(ARMS), n), rng.dirichlet(np.ones(ARMS), n)
    arm = np.array([rng.choice(ARMS, p=p) for p in logging])
    reward, guess, at = (rng.random(n) < 0.3) * 1.0, rng.random((n, ARMS)), np.arange(n)
    found = estimate_policy(
        reward, logging[at, arm], target[at, arm], None, guess[at, arm], (target * guess).sum(1)
    ).values
    assert found["ips"].value == pytest.approx(0.2842173577285963, abs=1e-12)
    assert found["snips"].value == pytest.approx(0.3009237199907038, abs=1e-12)
    assert found["dr"].value == pytest.approx(0.3095131297430756, abs=1e-12)


def test_its_own_log_is_judged_by_the_plain_mean():
    w = world(3)
    found = estimate_policy(w["reward"], w["logged"], w["logged"])
    assert found.values["ips"].value == found.values["snips"].value == pytest.approx(w["reward"].mean())
    assert found.effective == pytest.approx(len(w["reward"])) and found.warnings() == []


def test_thin_support_is_told():
    found = estimate_policy(np.ones(1000), np.full(1000, 0.5), np.r_[np.ones(20), np.zeros(980)])
    assert found.effective == pytest.approx(20)
    assert "support is thin: 1,000 choices count as 20" in found.warnings()[0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([], [], []), "no choice to evaluate"),
        (([1.0], [0.0], [1.0]), "row 0: logged probability 0, expected above 0"),
        (([1.0, 0], [0.5, 1.5], [1.0, 1]), "row 1: logged probability 1.5"),
        (([1.0], [0.5], [-0.1]), "row 0: target probability -0.1, expected at least 0"),
        (([np.nan], [0.5], [0.1]), "row 0 has no finite reward"),
        (([1.0], [0.5, 0.5], [0.1]), "columns of one length"),
    ],
)
def test_what_is_no_log_is_refused(columns, said):
    with pytest.raises(DataError, match=said):
        estimate_policy(*(np.array(c, float) for c in columns))


def test_clipping_bounds_each_weight():
    w = world(3)
    weight = np.minimum(w["target"] / w["logged"], 2)
    assert estimate_policy(**w, clip=2).values["ips"].value == pytest.approx((weight * w["reward"]).mean())


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_best_of_m_is_the_mean_over_all_subsets(m):
    from itertools import combinations

    rng = np.random.default_rng(m)
    user, reward, score = np.repeat([4, 2, 9], [6, 3, 5]), rng.random(14), rng.random(14)
    per_user = []
    for u in (2, 4, 9):
        rows = np.flatnonzero(user == u)
        if len(rows) >= m:
            per_user.append(np.mean([reward[max(s, key=lambda r: score[r])] for s in combinations(rows, m)]))
    found = best_of(reward, score, user, m)
    assert found.value == pytest.approx(np.mean(per_user)) and found.n == len(per_user)


def test_best_of_m_of_many_rows_is_finite():
    rng = np.random.default_rng(0)
    score = rng.random(200_000)
    assert best_of(score, score, np.zeros(200_000, int), 40).value == pytest.approx(40 / 41, abs=0.002)
