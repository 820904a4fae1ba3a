"""Settings that fit the log: what a run learns where its settings do not say, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from edgerec.config import Config
from edgerec.config.effort import STEPS, TOGETHER, Effort, LogSize, time_s
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.files import read_json, write_json
from edgerec.progress import duration
from edgerec.stages.cost import run_s, seconds_here

__all__ = ["DATASET", "Choice", "announced", "choose", "fit_to_log", "log_size", "remember", "settled"]

Choice: TypeAlias = Mapping[str, Any]
"""Chosen values by "section.key"."""
Cost: TypeAlias = "Callable[[Config], float]"
"""Seconds that a run with these settings takes, on the machine on which costs were measured."""
DATASET = Path("dataset") / "dataset.json"
"""What `prepare` writes last."""
CHOSEN = Path("stages") / "effort.json"
"""The effort of a run and what was chosen for its log."""


def fit_to_log(config: Config, size: LogSize, effort: Effort | None = None) -> tuple[Config, Choice]:
    """Settings for a log of this size, and those of them that were chosen by "section.key".

    Keys that the settings give stay as they are. The choice does not depend on the machine.
    Args:
        effort: in place of that of the settings.
    """
    effort = effort or config.effort
    if effort == "full":
        return config, {}
    key = config.model_dump_json(exclude_unset=True), size, effort
    if key not in _fitted:  # a run asks for its settings again and again
        _fitted[key] = choose(config, time_s(effort, size.rows), lambda tried: run_s(tried, size))
    return _with_values(config, _fitted[key]), _fitted[key]


_fitted: dict[tuple[str, LogSize, Effort], Choice] = {}


def announced(config: Config, size: LogSize, effort: Effort | None = None) -> str:
    """How long `edgerec run` takes for a log of this size on this machine: "about 6 minutes"."""
    fitted, _ = fit_to_log(config, size, effort)
    return f"about {duration(sum(seconds_here(fitted, size).values()))}"


def settled(config: Config, run_dir: Path) -> Config:
    """The settings of a run once its dataset is there, with all that is chosen for it; before, as they are.

    A dataset that is damaged is reported by what reads it.
    """
    try:
        size = log_size(run_dir)
    except (DataError, OSError, pl.exceptions.PolarsError):
        return config
    effort = effort_of(config, run_dir)
    fitted, _ = fit_to_log(config, size, effort)
    return fitted if effort == fitted.effort else fitted.model_copy(update={"effort": effort})


def effort_of(config: Config, run_dir: Path) -> Effort:
    """The effort that `remember` was given for this run; after a change in the settings, theirs."""
    try:
        kept = read_json(run_dir / CHOSEN)
    except DataError:
        return config.effort
    effort: Effort = kept["effort"] if kept.get("settings") == config.effort else config.effort
    return effort


def remember(config: Config, run_dir: Path, effort: Effort | None = None) -> list[str]:
    """Keep in the run what is chosen for its log; the choice in words, for a person to read.

    Args:
        effort: in place of that of the settings, for all later commands too.
    """
    size, effort = log_size(run_dir), effort or effort_of(config, run_dir)
    _, chosen = fit_to_log(config, size, effort)
    values = {"effort": effort, "settings": config.effort, "log": asdict(size), "chosen": dict(chosen)}
    write_json(run_dir / CHOSEN, values)
    if not chosen:
        return []
    return [f"for {size.rows:,} rows, {size.users:,} users and {size.items:,} items, effort {effort}: {_words(chosen)}"]


def _words(chosen: Choice) -> str:
    """As a settings file would say it."""
    sections: dict[str, list[str]] = {}
    for path, value in chosen.items():
        section, _, key = path.partition(".")
        sections.setdefault(section, []).append(f"{key} = {_toml(value)}")
    return " ".join(f"[{section}] {', '.join(keys)}" for section, keys in sections.items())


def _toml(value: Any) -> str:
    return str(list(value)).replace("'", '"') if isinstance(value, tuple) else str(value)


def log_size(run_dir: Path) -> LogSize:
    """The size of a run's dataset; it is counted once for each dataset.

    Raises:
        DataError, OSError or PolarsError: there is none, or it is damaged.
    """
    return _log_size(run_dir, (run_dir / DATASET).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _log_size(run_dir: Path, _: int) -> LogSize:
    dataset = Dataset.open(run_dir / "dataset")
    meta = dataset.meta
    log = pl.concat([dataset.training_frame("test"), dataset.part("test")])
    of_users = log.group_by("user").len().select(pl.col("len").cast(pl.Float64).pow(2).sum()).collect().item()
    rows = sum(meta.rows.values())
    has_sessions = "session" in log.collect_schema().names()
    judged = dataset.part("test").select(pl.col("user").n_unique()).collect().item()
    items = pl.scan_parquet(dataset.folder / "items.parquet")
    texts = items.select((pl.col("text").str.len_bytes() > 0).sum()).collect().item() if meta.text else 0
    return LogSize(
        rows=rows,
        users=meta.n_users,
        items=meta.n_items,
        sessions=log.select(pl.col("session").n_unique()).collect().item() if has_sessions else rows,
        past=of_users / (2 * max(rows, 1)),
        judged=judged,
        texts=texts,
    )


# ------------------------------------------------------------------------------------------------ the choice


def choose(config: Config, limit_s: float, cost: Cost) -> Choice:
    """Values of the keys that the settings leave open, such that a run takes at most `limit_s`; none if it does anyway.

    All parts' times are raised alike until the run would take longer. The least steps may take longer, too.
    """
    if cost(config) <= limit_s:
        return {}
    least, most = 0.0, 4.0  # parts whose defaults cost little leave more for the others than their share
    chosen = _within(config, cost, least)
    for _ in range(8):
        middle = (least + most) / 2
        tried = _within(config, cost, middle * limit_s)
        if cost(_with_values(config, tried)) <= limit_s:
            least, chosen = middle, tried
        else:
            most = middle
    return chosen


def _within(config: Config, cost: Cost, seconds: float) -> dict[str, Any]:
    """The dearest step of each part that costs its share of `seconds` more than the cheapest step."""
    chosen: dict[str, Any] = {}
    for share, keys, steps in STEPS:
        open_ = [key for key in keys if not _is_given(config, key) and not _is_given(config, TOGETHER.get(key, key))]
        defaults = {key: _value_of(config, key) for key in open_}
        every = [defaults, *({k: v for k, v in zip(keys, step, strict=True) if k in open_} for step in steps)]
        every = [{key: _least(value, defaults[key]) for key, value in step.items()} for step in every]
        costs = [cost(_with_values(config, {**chosen, **step})) for step in every]
        affordable = [step for step, s in zip(every, costs, strict=True) if s - min(costs) <= share * seconds]
        chosen |= {key: value for key, value in affordable[0].items() if value != defaults[key]}
    return chosen


def _least(value: Any, default: Any) -> Any:
    """A step never asks for more than the default."""
    return min(value, default) if isinstance(value, int) else value


def _is_given(config: Config, path: str) -> bool:
    """Whether the settings say the value of "section.key"."""
    section, _, key = path.partition(".")
    return key in getattr(config, section).model_fields_set


def _value_of(config: Config, path: str) -> Any:
    """The value of "section.key"."""
    section, _, key = path.partition(".")
    return getattr(getattr(config, section), key)


def _with_values(config: Config, values: Choice) -> Config:
    """The settings with other values by "section.key", which then count as given."""
    changed: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, _, key = path.partition(".")
        changed.setdefault(section, {})[key] = value
    sections = {name: getattr(config, name).model_copy(update=of) for name, of in changed.items()}
    return config.model_copy(update=sections)
