"""Settings keys of earlier versions, which are still read, with a warning that names the new key.

A line stays for one release after the rename (`edgerec.errors.OLD_NAMES_UNTIL`); then it goes, and the key is unknown.
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
    """Parsed settings with today's names, those of the space of ``[tuning]`` among them; warns of each old one.

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
        space = {_new_path(path, source): axis for path, axis in tuning["space"].items()}
        renamed["tuning"] = {**tuning, "space": space}
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


def _new_path(path: str, source: str) -> str:
    """ "section.key" with today's names."""
    section, dot, key = path.partition(".")
    new_section = SECTIONS.get(section, section)
    new = new_section + dot + KEYS.get(new_section, {}).get(key, key)
    if new != path:
        deprecated(f"[tuning.space] {path}", f"[tuning.space] {new}", source)
    return new
