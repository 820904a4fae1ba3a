"""The benchmarks of a finished run, or of its bundle, on the tiny one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgerec.errors import ConfigError
from tests import tiny
from tools.benchmarks import adaptation, bundle, overhead, runtimes, web
from tools.benchmarks.shared import javascript


@pytest.fixture
def run(tiny_chain: Path, tmp_path: Path) -> Path:
    """A copy of the run with its settings, as `edgerec demo` leaves one."""
    shutil.copytree(tiny_chain / "run", tmp_path / "run")
    settings = tiny.settings()
    settings["data"] |= {"interactions": str(tiny_chain / "log.csv")}
    (tmp_path / "run" / "edgerec.toml").write_text(tiny.toml(settings))
    return tmp_path / "run"


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The rows that a benchmark printed as JSON."""
    return json.loads(capsys.readouterr().out)


def test_the_runtimes_give_the_same_lists_and_the_report_shows_it(run, capsys):
    assert runtimes.main([str(run), "--count", "4", "--json"]) == 0
    rows = printed(capsys)

    assert [row["runtime"] for row in rows][:3] == ["onnxruntime", "numpy", "serve"]
    assert all(row["requests"] == 4 and row["other lists"] == 0 for row in rows)
    assert json.loads((run / "report" / "runtimes.json").read_text("utf-8"))["ways"] == rows
    assert "Runtimes, compared on real histories" in (run / "report" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("ranked", "difference"),
    [
        ([("a", 2.0), ("b", 1.0)], "same"),
        ([("b", 1.9999), ("a", 2.0)], "tie"),
        ([("b", 1.0), ("a", 2.0)], "other"),
        ([("a", 2.0)], "other"),
    ],
)
def test_only_items_of_equal_utility_may_change_places(ranked, difference):
    expected = [("a", 2.0), ("b", 1.9999 if difference == "tie" else 1.0)]

    assert runtimes.difference(expected, ranked) == difference


def test_adaptation_is_compared_with_the_frozen_bundle(run, capsys):
    task = next(task["name"] for task in tiny.TASKS if task["kind"] == "binary")
    assert adaptation.main([str(run), "--task", task, "--rate", "0.1,0.2", "--part", "test", "--json"]) == 0
    frozen, *adapted = printed(capsys)

    assert frozen["setting"] == "frozen" and frozen["corrected rows"] == 0
    assert [row["setting"].partition(",")[0] for row in adapted] == ["rate 0.1", "rate 0.2"]


def test_a_task_without_impressions_is_refused(run):
    with pytest.raises(ConfigError, match="has no binary task 'next' with impressions"):
        adaptation.main([str(run), "--task", "next"])


def test_the_overhead_is_what_the_runtime_takes_beyond_its_session(run):
    (row,) = overhead.measure(run, items=[500], n_calls=3, processes=1)

    assert row["items"] == 500 and row["ratio"] == row["open_and_first_result_s"] / row["bare_first_result_s"]
    for name in overhead.REQUESTS:
        assert row[f"{name}_over_session_ms"] == row[f"{name}_ms"] - row[f"{name}_session_ms"]


def test_the_size_of_a_bundle_is_that_of_its_files(run):
    files = [path.stat().st_size for path in (run / "bundle").iterdir()]

    assert bundle.size_mb(run / "bundle")[1] == pytest.approx(sum(files) / 1e6)


def test_the_web_needs_a_browser(run, monkeypatch):
    monkeypatch.setattr(javascript, "chromium", lambda: None)
    with pytest.raises(ConfigError, match="needs Chromium"):
        web.main([str(run)])
