"""All that is measured, behind one command: each module here is a benchmark, `tools/benchmark NAME` runs it.

A benchmark has a docstring whose first paragraph says what it prints, a `DURATION`, and a `main` that takes the command
line and returns an exit code. What several of them need lies in the packages `shared`, `baselines` and `peers`.
"""
