"""Fuzz one target, guided by coverage: python -m tests.fuzz NAME [SECONDS [FOLDER [SEED]]].

Writes what it finds into FOLDER/NAME, by default tests/fuzz/found, whose files the quick tests try again. A finding is
an exception that is not of ours, one for each place that raised one; or an input that takes over 25 seconds or two
gigabytes.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["edgerec.bundle", "edgerec.runtime", "edgerec.tasks"]):
    from tests.fuzz import targets

JSON = ("manifest", "policy", "signature", "delta", "delta_manifest", "state", "history")
"""Targets whose inputs are mutated as trees too: a flipped byte is rarely JSON."""
ODD = (None, True, False, -1, 0, 1, 2**31, 2**53, 2**63, 2**64, 10**400, -0.5, 1e39, 1e308, float("nan"), float("inf"),
       "", "x", "..", "\ud800", "\0", "é" * 300, [], {}, [[]], [None] * 40)  # fmt: skip
WORDS = ("price", "colour", "title", "available", "'red'", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "NULL",
         "abs(", "lower(", "length(", "coalesce(", ":a", "1e999", "0x1", "'%", "((", "--", "\\\"")  # fmt: skip


class Findings:
    """What a target answered wrongly, once for each place."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.places = name, folder, set[tuple[str, str, int | None]]()

    def one(self, content: bytes) -> None:
        """Try one input."""
        try:
            targets.check(self.name, content)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = (type(error).__name__, where.filename, where.lineno)
            if place not in self.places:
                self.places.add(place)
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
                traceback.print_exc()
                print(f"FOUND {self.name}: {type(error).__name__}: {error}", file=sys.stderr)


def mutate_tree(content: bytes, longest: int, seed: int) -> bytes:
    """Change one value of a JSON document, or its bytes."""
    choose = random.Random(seed)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if value is None or choose.random() < 0.2:
        mutated: bytes = atheris.Mutate(content, longest)
        return mutated
    places = [(None, None), *_places(value)]
    for _ in range(choose.randrange(1, 4)):
        holder, key = choose.choice(places)
        other = choose.choice(ODD) if choose.random() < 0.7 else choose.choice(places[1:] or [([0], 0)])
        new = other[0][other[1]] if isinstance(other, tuple) else other  # type: ignore[index]
        if holder is None:
            value = new if choose.random() < 0.1 else value
        elif choose.random() < 0.2:
            del holder[key]
            break
        else:
            holder[key] = json.loads(json.dumps(new))
    mutated = json.dumps(value).encode("utf-8", "surrogatepass")
    return mutated[:longest]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of each value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in pairs for place in ((value, key), *_places(inner))]


def main(name: str, seconds: int, folder: Path, seed: int = 0) -> None:
    """Fuzz for so long, in another way each time if `seed` is 0; ends the process."""
    findings = Findings(name, folder / name)
    corpus = Path(tempfile.mkdtemp(prefix="edgerec-corpus-"))
    for number, content in enumerate(targets.seeds(name)):
        (corpus / str(number)).write_bytes(content)
        findings.one(content)  # makes what targets share, before memory is watched
    longest = max(path.stat().st_size for path in corpus.iterdir())
    options = [f"-max_total_time={seconds}", f"-max_len={2 * longest + 64}", "-timeout=25", "-rss_limit_mb=2048",
               f"-artifact_prefix={folder}/{name}-", "-print_final_stats=1", f"-seed={seed}"]  # fmt: skip
    if name == "condition":
        words = corpus.with_suffix(".dict")
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        options.append(f"-dict={words}")
    folder.mkdir(parents=True, exist_ok=True)
    mutator = {"custom_mutator": mutate_tree} if name in JSON else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], findings.one, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    _, name, *rest = sys.argv
    main(name, int(rest[0]) if rest else 20, Path(rest[1]) if rest[1:] else targets.FOUND, *map(int, rest[2:]))
