"""Runs one benchmark: tools/benchmark NAME [OPTIONS]. `--list` says what each prints and how long it takes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from edgerec.cli.output import format_table
from edgerec.errors import EdgerecError
from edgerec.threads import share_cores

USAGE = """usage: tools/benchmark NAME [OPTIONS]
       tools/benchmark NAME --help
       tools/benchmark --list"""


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark's module says of itself, read without importing it, since most load torch."""

    module: str
    prints: str
    duration: str

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        """The first paragraph of the docstring, and `DURATION`."""
        module = ast.parse(path.read_text("utf-8"))
        constants = {
            target.id: statement.value
            for statement in module.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        prints, _, _ = (ast.get_docstring(module) or "").partition("\n\n")
        return cls(f"tools.benchmarks.{path.stem}", " ".join(prints.split()), ast.literal_eval(constants["DURATION"]))

    def run(self, arguments: Sequence[str]) -> int:
        """Its exit code."""
        benchmark: Callable[[Sequence[str]], int] = import_module(self.module).main
        return benchmark(arguments)


def benchmarks() -> dict[str, Benchmark]:
    """All of them, by name."""
    paths = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return {path.stem.replace("_", "-"): Benchmark.read(path) for path in paths}


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names: 2 after a mistake of the user, which is one line, and 130 after Ctrl-C."""
    known = benchmarks()
    match arguments:
        case ["--list"]:
            rows = [(name, benchmark.duration, benchmark.prints) for name, benchmark in known.items()]
            print(format_table(("name", "takes", "prints"), rows))
            return 0
        case ["-h" | "--help"]:
            print(USAGE)
            return 0
        case [name, *options] if name in known:
            return _run(known[name], options)
        case [name, *_]:
            (nearest,) = get_close_matches(name, known, n=1, cutoff=0)
            hint = f"did you mean {nearest!r}? --list names them all"
            print(f"tools/benchmark: there is no benchmark {name!r}; {hint}", file=sys.stderr)
            return 2
        case _:
            print(USAGE, file=sys.stderr)
            return 2


def _run(benchmark: Benchmark, options: Sequence[str]) -> int:
    try:
        return benchmark.run(options)
    except EdgerecError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; a benchmark that keeps results (--out) goes on from them when it runs again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    share_cores()  # before a benchmark loads torch
    sys.exit(main(sys.argv[1:]))
