"""Settings keys of earlier versions: they are still read, with a warning that names the new key.

An old key is read until version `edgerec.errors.OLD_NAMES_UNTIL`, in which this file loses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgerec.config.base import problem
from edgerec.errors import deprecated

__all__ = ["KEYS", "SECTIONS", "with_new_names"]

SECTIONS: Mapping[str, str] = {"committee": "ensemble"}
"""Old section -> new section."""

KEYS: Mapping[str, Mapping[str, str]] = {
    "evaluation": {
        "least_kept": "min_ndcg_retained",
        "most_lost": "max_auc_drop",
        "least_same": "min_overlap",
    },
    "teacher": {"visits": "sessions", "rows": "impressions", "visits_per_epoch": "sessions_per_epoch"},
    "student": {"followers": "transitions"},
    "distillation": {
        "least_kept": "min_ndcg_retained",
        "most_lost": "max_auc_drop",
        "unlabelled": "pseudo_labelled",
        "ahead": "future",
        "easy_epochs": "early_teacher_epochs",
        "rounded": "qat",
        "visits_per_epoch": "requests_per_epoch",
    },
    "quantization": {"body": "kernel"},
}
"""By section (its new name), old key -> new key."""


def with_new_names(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Parsed settings under the current names, also in ``[tuning.space]``; warns about each old name.

    Args:
        source: what the warning calls the settings.
    Raises:
        PydanticCustomError: an old name and its new one are both given.
    """
    renamed = _renamed(values, SECTIONS, source, "[{}]")
    for section, keys in KEYS.items():
        if isinstance(renamed.get(section), dict):
            renamed[section] = _renamed(renamed[section], keys, source, f"[{section}] {{}}")
    tuning = renamed.get("tuning")
    if isinstance(tuning, dict) and isinstance(tuning.get("space"), dict):
        renamed["tuning"] = {**tuning, "space": _renamed_space(tuning["space"], source)}
    return renamed


def _renamed(values: Mapping[str, Any], names: Mapping[str, str], source: str, form: str) -> dict[str, Any]:
    renamed = {}
    for key, value in values.items():
        new = names.get(key, key)
        if new != key:
            if new in values:
                raise problem(f"{form.format(key)} is the old name of {form.format(new)}; leave one out")
            deprecated(form.format(key), form.format(new), source)
        renamed[new] = value
    return renamed


def _renamed_space(space: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A search space, whose keys are "section.key", or sections if TOML nests them: a dot that is not quoted."""
    renamed = _renamed(space, SECTIONS, source, "[tuning.space] {}")
    for section, keys in KEYS.items():
        if isinstance(renamed.get(section), dict):
            renamed[section] = _renamed(renamed[section], keys, source, f"[tuning.space] {section}.{{}}")
    return _renamed(renamed, {path: _new_path(path) for path in renamed}, source, "[tuning.space] {}")


def _new_path(path: str) -> str:
    """ "section.key" under its current name."""
    section, dot, key = path.partition(".")
    new_section = SECTIONS.get(section, section)
    return new_section + dot + KEYS.get(new_section, {}).get(key, key)
