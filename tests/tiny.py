"""A tiny log of two camps, a checkerboard: users of camp "a" click items of camp "a", and nobody the other camp's.

30 users, 40 items, five weeks, seven sessions a user. A session shows five items: the user's favourite, three others of
the own camp, and last one of the other camp, which is not clicked. So a model that has learned anything ranks the own
camp first, and the favourite repeats. User and item i are of camp "ab"[i % 2].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edgerec.config import Config
from edgerec.examples.log import Log

USERS, ITEMS, SESSIONS = 30, 40, 7
DAY_MS = 86_400_000
START_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC, a Wednesday
TASKS: list[dict[str, Any]] = [
    {"name": "next", "kind": "retrieval", "label": "click"},
    {"name": "new", "kind": "retrieval", "label": "click", "repeats": "exclude"},
    {"name": "click", "kind": "binary", "label": "click"},
    {"name": "liked", "kind": "binary", "label": "click = 1 AND liked = 1", "after": "click"},
    {"name": "watch", "kind": "regression", "label": "played_ms", "clip": 0.99, "unit": "ms"},
    {"name": "related", "kind": "related"},
]
SMALL: dict[str, Any] = {
    "teacher": {
        "dim": 8,
        "hidden": 16,
        "heads": 2,
        "experts": 2,
        "epochs": 1,
        "sessions": 32,
        "impressions": 256,
        "folds": 2,
    },
    "ensemble": {"sequence_dim": 8, "sequence_epochs": 1},
    "student": {"dim": 8, "hidden": 16, "heads": 2, "max_history": 16},
    "distillation": {"epochs": 1, "min_ndcg_retained": 0.0, "max_auc_drop": 1.0},  # too short to keep much
    "evaluation": {"min_ndcg_retained": 0.0, "max_auc_drop": 1.0, "min_overlap": 0.0},
    "pruning": {"epochs": 1},
    "quantization": {"conformance": 6},
}


def camp(index: Any) -> Any:
    """0 or 1, of user or item numbers."""
    return np.asarray(index) % 2


def rows(seed: int = 0) -> dict[str, list[Any]]:
    """The columns of the log."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for user in range(USERS):
        favourite = 2 * (user // 2 % 3) + user % 2
        for session in range(SESSIONS):
            time = START_MS + (5 * session + int(rng.integers(5))) * DAY_MS + int(rng.integers(6, 22)) * 3_600_000
            tab, battery = ["home", "search"][int(rng.integers(2))], float(rng.integers(100))
            own = rng.choice(np.arange(6 + user % 2, ITEMS, 2), 3, replace=False).tolist()
            other = int(rng.choice(np.arange(1 - user % 2, ITEMS, 2)))
            for item in [favourite, *own, other]:
                click = int(camp(item) == camp(user))
                liked = click * int(item == favourite)
                played = click * int(rng.integers(5_000, 20_000))
                values = (f"u{user}", f"i{item}", time, f"s{user}-{session}", click, liked, played, tab, battery,
                          ["DE", "FR"][user % 3 == 0], 20 + user, ["x", "y", "z"][item % 3], item / 4)  # fmt: skip
                for name, value in zip(COLUMNS, values, strict=True):
                    found[name].append(value)
    return found


COLUMNS = ("user", "item", "time", "session", "click", "liked", "played_ms", "tab", "battery", "country", "age",
           "shelf", "price")  # fmt: skip


def settings(tasks: list[dict[str, Any]] | None = None, **sections: Any) -> dict[str, Any]:
    """What edgerec.toml would say; `sections` are laid over `SMALL` key by key."""
    merged = {name: {**SMALL.get(name, {}), **values} for name, values in sections.items()}
    return {
        "name": "tiny",
        "data": {
            "interactions": "log.csv",
            "user": "user",
            "item": "item",
            "time": "time",
            "session": "session",
            "timezone": "Europe/Berlin",
            "split": {"valid": "5d", "test": "5d"},
            "context": {"categorical": ["tab"], "numeric": ["battery"], "from_time": ["hour", "weekday"]},
            "users": {"categorical": ["country"], "numeric": ["age"]},
            "items": {"categorical": ["shelf"], "numeric": ["price"]},
        },
        "task": tasks or TASKS,
        **SMALL,
        **merged,
    }


def write(folder: Path, log: dict[str, list[Any]] | None = None) -> None:
    """Write log.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(log or rows()).write_csv(folder / "log.csv")


def toml(values: dict[str, Any]) -> str:
    """`settings` as a file."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + " }"
        return json.dumps(value)

    lines = [f"{k} = {inline(v)}" for k, v in values.items() if not isinstance(v, (dict, list))]
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            for section in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{name}]]" if isinstance(value, list) else f"[{name}]"]
                lines += [f"{k} = {inline(v)}" for k, v in section.items()]
    return "\n".join(lines) + "\n"


def config(folder: Path, tasks: list[dict[str, Any]] | None = None, **sections: Any) -> Config:
    """The checked settings of a log in `folder`."""
    return Config.of(settings(tasks, **sections), folder=folder)


def log_of(events: list[tuple[int, int, int, int]], n_users: int = 4, **labels: list[float]) -> Log:
    """A log of (user, item, time_ms, kind), each its own session; `labels` in the order of `events`."""
    columns = np.array(events, np.int64).reshape(-1, 4)
    order = np.lexsort((columns[:, 2], columns[:, 0]))
    user, item, time_ms, kind = columns[order].T
    n = len(events)
    return Log(
        offsets=np.concatenate(([0], np.cumsum(np.bincount(user, minlength=n_users)))).astype(np.int64),
        row=order.astype(np.int64),
        user=user,
        item=item,
        time_ms=time_ms,
        kind=kind,
        session=np.arange(n),
        labels={name: np.array(values, np.float32)[order] for name, values in labels.items()},
        categorical=np.zeros((n, 0), np.int64),
        numeric=np.zeros((n, 0)),
    )
