"""Online evaluation: logged lists of users who agreed (`edgerec events lists`), by bundle, experiment and policy.

The reward of a list is how many of its items were answered by an event of one kind. Users are independent, lists of one
user are not: all errors are over users.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgerec import metrics
from edgerec.errors import DataError
from edgerec.evaluation.report import Table, figure
from edgerec.metrics import OffPolicy, TaskMetrics, Verdict, always_valid
from edgerec.runtime import Events, Recommender
from edgerec.runtime.events import kind_mask

__all__ = ["Online", "Place", "ab_differences", "analyse", "interleaved_differences", "read_places"]

NEEDED: Final = {
    "user": int, "list": int, "time_ms": int, "bundle": str, "rank": int, "item": str, "probability": float,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A position of a list, see `edgerec.runtime.export.exported_lists`. Users and lists are numbered across files."""

    user: int
    list: int
    time_ms: int
    bundle: str
    rank: int
    item: str
    probability: float
    team: str | None
    kind: str | None
    context: Mapping[str, Any] | None
    past: Sequence[Sequence[Any]] | None


@dataclass(frozen=True)
class Online:
    """What the logged lists show.

    Attributes:
        arms: mean reward of a list, by bundle.
        ab: difference b - a of the mean reward, where two bundles had different users.
        interleaved: answers to items of b minus answers to items of a, per list, by pair of bundles.
        policy: off-policy estimate for the run's bundle, from the positions that were filled by exploration.
    """

    reward: str
    arms: TaskMetrics
    ab: dict[str, Verdict] = field(default_factory=dict)
    interleaved: dict[str, Verdict] = field(default_factory=dict)
    policy: OffPolicy | None = None
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The content of online.json."""
        policy = self.policy and {
            "values": {name: of.to_json() for name, of in self.policy.values.items()},
            "effective": self.policy.effective, "choices": self.policy.rows,
        }  # fmt: skip
        return {
            "reward": self.reward,
            "arms": {name: of.to_json() for name, of in self.arms.items()},
            "ab": {name: of.to_json() for name, of in self.ab.items()},
            "interleaved": {name: of.to_json() for name, of in self.interleaved.items()},
            "policy": policy,
            "notes": list(self.notes),
        }

    def tables(self) -> Iterator[Table]:
        """For the screen."""
        rows = tuple((name, figure(of), str(of.n)) for name, of in self.arms.items())
        yield Table(f"Answers of kind {self.reward} per list", ("bundle", "mean", "users"), rows, 2)
        for title, verdicts in (("A/B test", self.ab), ("Interleaving", self.interleaved)):
            if verdicts:
                cells = tuple((name, *_verdict(of)) for name, of in verdicts.items())
                columns = ("a against b", "b - a", "interval, valid at every look", "users", "winner")
                yield Table(f"{title}: decided once the interval excludes zero", columns, cells, 4)
        if self.policy is not None:
            effective = f"{self.policy.effective:,.0f}"
            values = tuple((name, figure(of), effective) for name, of in self.policy.values.items())
            yield Table(
                f"Off-policy value of this bundle: {self.reward} per position, {self.policy.rows:,} explored choices",
                ("estimator", "value", "effective choices"), values, 2,
            )  # fmt: skip

    def lines(self) -> list[str]:
        """Why the figures are unreliable, if they are."""
        return [*self.notes, *(self.policy.warnings() if self.policy is not None else [])]


def _verdict(of: Verdict) -> tuple[str, str, str, str]:
    winner = of.winner or ("undecided" if of.users >= 2 else "-")
    decided = f" (user {of.decided_at:,})" if of.decided_at is not None else ""
    return f"{of.value:+.4f}", f"{of.low:+.4f} to {of.high:+.4f}", f"{of.users:,}", f"{winner}{decided}"


# ------------------------------------------------------------------------------------------------ reading


def read_places(pattern: str) -> list[Place]:
    """The rows of all files that match a pattern; files have different users.

    Raises:
        DataError: there is no file, or a row is not valid; names file, line, key and what was expected.
    """
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise DataError(f"{pattern}: no such file; write one with: edgerec events lists")
    places: list[Place] = []
    for path in paths:
        users = max((place.user for place in places), default=0)
        lists = max((place.list for place in places), default=0)
        with Path(path).open(encoding="utf-8") as file:
            places += (
                _place(f"{path}, line {i}", line, users, lists) for i, line in enumerate(file, 1) if line.strip()
            )
    if not places:
        raise DataError(f"{pattern}: has no row; expected lines of edgerec events lists")
    return places


def _place(where: str, line: str, users: int, lists: int) -> Place:
    try:
        row = json.loads(line)
    except ValueError:
        raise DataError(f"{where}: not JSON; expected a line of edgerec events lists") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with {', '.join(NEEDED)}")
    for key, kind in NEEDED.items():
        value = row.get(key)
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise DataError(f"{where}: {key} is {value!r}, expected {kind.__name__}; see edgerec events lists")
    if not 0 < row["probability"] <= 1:
        raise DataError(f"{where}: probability is {row['probability']:g}, expected above 0 and at most 1")
    more = (row.get(key) for key in ("team", "kind", "context", "past"))
    return Place(
        users + row["user"], lists + row["list"], row["time_ms"], row["bundle"], row["rank"], row["item"],
        float(row["probability"]), *more,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ analysis


def analyse(places: Sequence[Place], reward: str, share: float, bundle: Recommender | None) -> Online:
    """All analyses that the logged lists allow.

    Args:
        reward: name of a binary task. share: share of the users who had b in an A/B test.
        bundle: evaluated off-policy from the positions that were filled by exploration; None: this is left out.
    """
    lists = [list(of) for _, of in groupby(sorted(places, key=lambda p: (p.list, p.rank)), key=lambda p: p.list)]
    lists.sort(key=lambda of: of[0].time_ms)
    plain = [of for of in lists if of[0].team is None]
    names = sorted({of[0].bundle for of in plain})
    per_user = {name: _per_user(plain, name, reward) for name in names}
    arms = {name: metrics.mean(np.array(list(of.values()))) for name, of in per_user.items()}
    mixed = sorted({of[0].bundle for of in lists if of[0].team is not None})
    interleaved = {name: always_valid(interleaved_differences(lists, name, reward)) for name in mixed}
    ab, notes = {}, []
    if len(names) == 2:
        both = per_user[names[0]].keys() & per_user[names[1]].keys()
        if both:
            notes.append(f"{len(both)} users had lists of both bundles, so there is no A/B test of these")
        else:
            ab[" against ".join(names)] = always_valid(ab_differences(plain, names[1], reward, share))
    policy = None if bundle is None else _policy(plain, reward, bundle, notes)
    return Online(reward, arms, ab, interleaved, policy, notes)


def _answered(place: Place, reward: str) -> bool:
    return place.kind is not None and reward in place.kind.split("+")


def _per_user(lists: Sequence[Sequence[Place]], bundle: str, reward: str) -> dict[int, float]:
    """Mean reward of each user's lists of a bundle, in the order in which users came."""
    sums: dict[int, list[int]] = {}
    for of in lists:
        if of[0].bundle == bundle:
            sums.setdefault(of[0].user, []).append(sum(_answered(place, reward) for place in of))
    return {user: float(np.mean(rewards)) for user, rewards in sums.items()}


def ab_differences(lists: Sequence[Sequence[Place]], b: str, reward: str, share: float) -> metrics.Floats:
    """One number per user, in the order in which the users came; their mean is the reward of b minus that of a.

    The reward of a user, minus the mean of the users before, is divided by the probability of the user's side. The
    subtraction does not change the mean, and lowers the variance.
    """
    sums: dict[int, tuple[bool, list[int]]] = {}
    for of in lists:
        sums.setdefault(of[0].user, (of[0].bundle == b, []))[1].append(sum(_answered(p, reward) for p in of))
    before, differences = 0.0, []
    for n, (in_b, rewards) in enumerate(sums.values()):
        own = float(np.mean(rewards))
        differences.append((own - before) * (1 / share if in_b else -1 / (1 - share)))
        before += (own - before) / (n + 1)
    return np.array(differences, np.float64)


def interleaved_differences(lists: Sequence[Sequence[Place]], bundle: str, reward: str) -> metrics.Floats:
    """Answers to items of b minus answers to items of a, per list: one number per user, in the order they came."""
    sums: dict[int, list[int]] = {}
    for of in lists:
        if of[0].bundle == bundle and of[0].team is not None:
            won = sum((1 if place.team == "b" else -1) for place in of if _answered(place, reward))
            sums.setdefault(of[0].user, []).append(won)
    return np.array([np.mean(of) for of in sums.values()], np.float64)


def _policy(lists: Sequence[Sequence[Place]], reward: str, rec: Recommender, notes: list[str]) -> OffPolicy | None:
    """Would this bundle have shown the logged item? Estimated from the positions that were filled by exploration."""
    tried = [of for of in lists if any(place.probability < 1 for place in of)]
    if not tried:
        notes.append(
            "no position was filled by exploration ([policy] explore): only the logged bundles can be evaluated"
        )
        return None
    known = [of for of in tried if of[0].past is not None]
    if not known:
        notes.append("the log has no histories, which this bundle needs; export with: edgerec events lists --past")
        return None
    if reward not in rec.tasks:
        notes.append(f"{reward} is not a task of this bundle, so there is no doubly robust estimate")
    rows = [row for of in known for row in _choices(of, reward, rec)]
    earned, logged, target, user, predicted, expected = (np.array(column) for column in zip(*rows, strict=True))
    if reward not in rec.tasks:
        return metrics.estimate_policy(earned, logged, target, user)
    return metrics.estimate_policy(earned, logged, target, user, predicted, expected)


def _choices(
    places: Sequence[Place], reward: str, rec: Recommender
) -> Iterator[tuple[bool, float, float, int, float, float]]:
    """Reward, logged and target probability, user, and both predictions, of each explored position."""
    first = places[0]
    past, context = first.past or [], dict(first.context or {})
    kinds = rec.encoder.binary
    history = Events(
        [str(item) for item, _, _ in past],
        [kind_mask(_known(kind, kinds), kinds) for _, kind, _ in past],
        [time_ms for _, _, time_ms in past],
    )
    request: dict[str, Any] = {"history": history, "now": first.time_ms, **_split(context, rec)}
    wanted = [row.item for row in rec.recommend(len(places), log=False, **request)]
    items = [place.item for place in places]
    known = [item for item in dict.fromkeys([*items, *wanted]) if rec.arrays.index_of(item) is not None]
    predicted = {row.item: row.probability.get(reward, 0.0) for row in rec.score(known, **request)}
    for at, place in enumerate(places):
        if place.probability < 1:
            before = set(items[:at])
            choice = next((item for item in wanted if item not in before), place.item)
            yield (
                _answered(place, reward), place.probability, float(choice == place.item), place.user,
                predicted.get(place.item, 0.0), predicted.get(choice, 0.0),
            )  # fmt: skip


def _known(kind: str, kinds: Sequence[str]) -> str:
    """The parts of a kind of event that this bundle knows."""
    return "+".join(part for part in kind.split("+") if part in kinds) or "event"


def _split(values: Mapping[str, Any], rec: Recommender) -> dict[str, dict[str, Any]]:
    """Split columns into context and user; columns that this bundle does not have are left out."""
    sources = rec.encoder.sources
    return {
        source: {name: value for name, value in values.items() if sources.get(name) == source}
        for source in ("context", "user")
    }
