"""What a settings file may say, and what a wrong one is told."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from edgerec.config import Config, duration_ms
from edgerec.errors import ConfigError
from edgerec.tasks import Task

GOOD: dict[str, Any] = {
    "name": "shop",
    "data": {"interactions": "log.csv", "user": "user", "item": "item", "time": "time"},
    "task": [
        {"name": "next", "kind": "retrieval"},
        {"name": "click", "kind": "binary", "label": "is_click"},
        {"name": "like", "kind": "binary", "label": "is_click AND is_like", "after": "click"},
        {"name": "watch", "kind": "regression", "label": "play_ms", "clip": 0.995, "unit": "ms"},
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good settings with one value set; None removes it."""
    settings = deepcopy(GOOD)
    *parents, last = path.split(".")
    place: Any = settings
    for key in parents:
        place = place[int(key)] if key.isdigit() else place.setdefault(key, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return settings


def test_a_small_file_is_enough_and_defaults_fill_the_rest(tmp_path):
    file = tmp_path / "shop.toml"
    file.write_text(
        'name = "shop"\n[data]\ninteractions = "log.csv"\nuser = "u"\nitem = "i"\ntime = "t"\n'
        '[[task]]\nname = "next"\nkind = "retrieval"\n'
    )

    config = Config.load(file)

    assert config.tasks == (Task("next", "retrieval"),)
    assert config.data.split.parts == (0.1, 0.1)
    assert config.resolve("log.csv") == str(tmp_path / "log.csv")


def test_related_tasks_alone_are_refused_since_they_recommend_nothing_to_a_user():
    settings = changed("data.session", "visit") | {"task": [{"name": "related", "kind": "related"}]}

    with pytest.raises(ConfigError, match=r"\[\[task\]\]: related tasks alone recommend nothing to a user; add one"):
        Config.of(settings)


def test_tasks_keep_their_order_and_values():
    watch = Config.of(GOOD).tasks[3]

    assert watch == Task("watch", "regression", label="play_ms", clip=0.995, unit="ms")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("distillation.temprature", 2, r"shop.toml: \[distillation\] has no key 'temprature'"),
        ("nmae", "x", r"shop.toml: has no key 'nmae'; did you mean 'name'\?"),
        ("data.usr", "x", r"\[data\] has no key 'usr'; did you mean 'user'\?"),
        ("data.items.txt", ["x"], r"\[data.items\] has no key 'txt'; did you mean 'text'\?"),
        ("data.split.tset", "1d", r"\[data\] split has no key 'tset'; did you mean 'test'\?"),
        ("task.0.repeat", "allow", r"\[\[task\]\] next has no key 'repeat'; did you mean 'repeats'\?"),
        ("data.user", None, r"\[data\] user: expected a value, found none; add the column that says who"),
        ("data.timezone", "Asia/Shangai", r"\[data\]: no time zone .* did you mean 'Asia/Shanghai'\?"),
        ("data.split.valid", "3 days", r"\[data\] split.* expected a duration such as \"28d\".*'3 days'"),
        ("data.split.valid", "1d", r"both as durations or both as fractions"),
        ("data.split.valid", 0.9, r"leave nothing to train on"),
        ("data.split.core", 5, r"core is for by = \"leave-last-out\""),
        ("data.split", {"by": "leave-last-out", "test": "1d"}, r"takes no valid or test"),
        ("data.split", {"by": "rows", "test": "1d", "valid": "1d"}, r"expects fractions"),
        ("name", "../shop", r"shop.toml: name: .*got '../shop'"),
        ("task", [], r"there is no \[\[task\]\]; add at least one"),
        ("task.0.name", "click", r"\[\[task\]\] click: two tasks have this name"),
        ("task.0.kind", "ranking", r"\[\[task\]\] next kind: expected .*'retrieval'.* got 'ranking'"),
        ("task.1.label", None, r"\[\[task\]\] click: a binary task needs a label"),
        ("task.3.label", None, r"\[\[task\]\] watch: a regression task needs a label"),
        ("task.3.clip", 1.5, r"\[\[task\]\] watch clip: .* less than or equal to 1, got 1.5"),
        ("task.3.clip", 0, r"\[\[task\]\] watch clip: .* greater than 0, got 0"),
        ("task.1.clip", 0.5, r"clip is for regression tasks, not for binary"),
        ("task.2.after", "clik", r"after = 'clik' is not an earlier binary task; did you mean 'click'\?"),
        ("task.1.after", "like", r"after = 'like' is not an earlier binary task"),
        ("task.2.after", "next", r"after = 'next' is not an earlier binary task"),
        ("task.0.kind", "related", r"\[\[task\]\] next: a related task needs sessions; set session in \[data\]"),
    ],
)
def test_a_mistake_is_named_in_one_line(path, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Config.of(changed(path, value), source="shop.toml")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data.context", {"categorical": ["is_like"]}, r"\[data\] context: column 'is_like' .*label of task 'like'"),
        ("data.context", {"numeric": ["play_ms"]}, r"column 'play_ms' .*label of task 'watch'"),
        ("data.items", {"numeric": ["is_click"]}, r"\[data.items\]: column 'is_click' .*label of task 'click'"),
        ("data.users", {"categorical": ["is_click"]}, r"\[data.users\]: column 'is_click'"),
    ],
)
def test_a_label_cannot_be_a_feature(path, value, message):
    with pytest.raises(ConfigError, match=message):
        Config.of(changed(path, value))


def test_a_column_known_only_after_the_exposure_cannot_be_a_feature():
    settings = changed("data.after", ["stay_ms"])
    settings["data"]["context"] = {"numeric": ["stay_ms"]}

    with pytest.raises(ConfigError, match=r"'stay_ms' cannot be a feature: it is listed in \[data\] after"):
        Config.of(settings)


def test_words_in_strings_and_functions_of_a_label_are_no_columns():
    settings = changed("task.1.label", "LENGTH(answer) > 2 AND kind = 'tab'")
    settings["data"]["context"] = {"categorical": ["tab", "LENGTH"]}

    assert Config.of(settings).data.context.categorical == ("tab", "LENGTH")


def test_one_name_cannot_be_two_context_inputs():
    settings = changed("data.context", {"categorical": ["hour"], "from_time": ["hour"]})

    with pytest.raises(ConfigError, match="'hour' is named twice"):
        Config.of(settings)


def test_a_ninth_binary_task_is_refused():
    settings = changed("task", [{"name": f"t{i}", "kind": "binary", "label": "x"} for i in range(9)])

    with pytest.raises(ConfigError, match="at most 8 binary tasks"):
        Config.of(settings)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: no such file; write one with: edgerec init"):
        Config.load(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(ConfigError, match=r"broken.toml: is not valid TOML"):
        Config.load(tmp_path / "broken.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config.of(GOOD).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(("text", "ms"), [("4w", 28 * 86_400_000), ("28d", 28 * 86_400_000), ("30min", 1_800_000)])
def test_durations_are_milliseconds(text, ms):
    assert duration_ms(text) == ms
