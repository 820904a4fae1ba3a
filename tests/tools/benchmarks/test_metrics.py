"""The tool that times the metrics runs them."""

import sys

from tools.benchmarks import metrics


def test_it_prints_a_line_for_each_kind_of_metric(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tools/judging", "--users", "50", "--items", "300"])
    judging.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["ranking", "beyond accuracy"]
