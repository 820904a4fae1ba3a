"""The benchmark of the metrics computes them."""

from tools.benchmarks import metrics


def test_it_prints_a_line_for_each_kind_of_metric(capsys):
    assert metrics.main(["--users", "50", "--items", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["ranking", "beyond accuracy"]
