"""What tools that measure a finished run have in common: its folder, a table or JSON, one line for wrong input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgerec.cli.output import format_table
from edgerec.errors import EdgerecError


def tell(
    tool: str,
    about: str | None,
    measure: Callable[[argparse.Namespace], Sequence[Mapping[str, Any]]],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    as_columns: bool = False,
) -> list[Mapping[str, Any]]:
    """Parse the command line, measure, print; returns what was measured.

    Args:
        measure: gets the arguments, `run` a Path among them; gives rows with equal keys.
        options: of the tool's own, as `argparse.ArgumentParser.add_argument` takes them.
        as_columns: a table with a column for each of the rows.
    """
    parser = argparse.ArgumentParser(prog=tool, description=about)
    parser.add_argument("run", type=Path, help="a finished run with its edgerec.toml, such as runs/retail")
    for name, keys in (options or {}).items():
        parser.add_argument(name, **keys)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    given = parser.parse_args()
    try:
        found = list(measure(given))
    except EdgerecError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    names = list(found[-1])
    rows = [[row.get(name, "") for name in names] for row in found]
    if given.json:
        print(json.dumps(found, indent=2))
    elif as_columns:
        print(format_table(("figure", *map(str, range(1, len(rows) + 1))), list(zip(names, *rows, strict=True))))
    else:
        print(format_table(names, rows))
    return found
