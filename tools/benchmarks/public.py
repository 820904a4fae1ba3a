"""INT8 bundles beside recommenders that others published, on public files under the published protocols.

For each set, a bundle is learned from train alone, so that the valid items are no more than input at test, and another
one from train and valid. Settings are chosen with --part valid and committed in tools/benchmarks/published; test is for
the figures alone. What is finished is stored and not done again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.bundle import MANIFEST
from edgerec.files import read_json
from edgerec.progress import Progress, progress_for
from tools.benchmarks.published import report
from tools.benchmarks.published.chain import LINES, Chain, sizes_of
from tools.benchmarks.published.sets import SETS, Part, PublicSet
from tools.benchmarks.shared import results
from tools.benchmarks.shared.command import Parser, add_evaluation, add_out, print_titled, whole_numbers

DURATION = "an hour a set and seed"
STAGES = ("teacher", "student", "pruned", "int8")


def main(arguments: Sequence[str]) -> int:
    """Build what is missing, and print the table of each set; 1 if a planted check finds a difference."""
    options = _parser().parse_args(arguments)
    progress = progress_for()
    if options.page:
        report.write_page()
        return 0
    public = PublicSet.read(options.set_name, options.data)
    if options.planted:
        return _planted(public, options, progress)
    records = []
    for line in LINES[:1] if options.strict or options.part == "valid" else LINES:
        for seed in options.seeds:
            chain = Chain.of(public, line, seed, options.out, options.set)
            path = options.out / public.name / f"{options.part}-{line.replace(' ', '-')}-{seed}.json"
            missing = [stage for stage in options.stages if stage not in _finished(path, chain)]
            if missing and not options.show:
                progress.headline(f"{public.name}: learned from {line}, seed {seed}")
                _store(path, chain, options.part, missing, progress)
            if _finished(path, chain):
                records.append(results.read(path))
    print_titled(report.table(public.name, options.part, records))
    if options.record:
        report.record(public.name, records)
    return 0


def _parser() -> Parser:
    parser = Parser(__name__, __doc__)
    parser.add_argument(
        "set_name", nargs="?", default="beauty", choices=list(SETS), metavar="SET", help="of " + ", ".join(SETS)
    )
    parser.add_argument("--data", type=Path, default=Path(), help="the folder of the public files (default: this one)")
    parser.add_argument("--seeds", type=whole_numbers("0,1,2"), default=(0, 1, 2), help="seeds of all models")
    parser.add_argument("--strict", action="store_true", help="only what is learned from train alone")
    parser.add_argument("--stages", type=_stages, default=STAGES, help="of " + ",".join(STAGES))
    parser.add_argument(
        "--planted", action="store_true", help="build with and without the true test items, and compare"
    )
    parser.add_argument("--record", action="store_true", help="keep the figures for the page Public tables")
    parser.add_argument("--page", action="store_true", help="write the page's tables from what was kept, and stop")
    add_evaluation(parser)
    add_out(parser, "public")
    return parser


def _stages(given: str) -> tuple[str, ...]:
    """Names of stages, with commas.

    Raises:
        argparse.ArgumentTypeError: one is none.
    """
    names = tuple(given.split(","))
    for name in names:
        if name not in STAGES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(STAGES)}")
    return names


def _finished(path: Path, chain: Chain) -> results.Metrics:
    """The figures that were stored for these settings, by stage."""
    return results.metrics_of(path) if results.finished(path, chain.config) else {}


def _store(path: Path, chain: Chain, part: Part, stages: Sequence[str], progress: Progress) -> None:
    """Build one line of one seed, and keep figures and lists of some stages beside those of others."""
    run, done = chain.build(progress), _finished(path, chain)
    lists, kept = chain.lists(run, part, stages), path.with_suffix(".npz")
    arrays: dict[str, Any] = {"user": lists.users, **lists.by_stage}
    if done:
        with np.load(kept, allow_pickle=False) as before:
            arrays = {**before, **arrays}
    np.savez_compressed(kept, **arrays)
    ms = lists.ms or (results.read(path)["ms"] if done else 0.0)
    more = {"line": chain.line, "seed": chain.seed, "part": part, "ms": ms, "bytes": sizes_of(run.bundle)}
    sections = ("seed", "task", *chain.config.sections)
    figures = {**done, **lists.figures(chain.public, part)}
    results.store(path, chain.public.name, chain.config, sections, figures, more)


def _planted(public: PublicSet, options: argparse.Namespace, progress: Progress) -> int:
    """Tell whether the bundles with the true test items and with random ones are the same, byte for byte."""
    differ = []
    for line in LINES[:1] if options.strict else LINES:
        seed, folders = options.seeds[0], []
        for name, each in (("true", public), ("random", public.planted(1))):
            chain = Chain.of(each, line, seed, options.out / f"planted-{name}", options.set)
            shutil.rmtree(chain.folder, ignore_errors=True)
            progress.headline(f"{public.name}, {line}: {name} test items")
            folders.append(chain.build(progress).bundle)
        found = list(differences(*folders))
        differ += [f"{line}: {name}" for name in found]
        same = sum(1 for _ in folders[0].iterdir()) - len(found)
        print(f"{public.name}, learned from {line}: {same} files of the bundle are the same with random test items")
    for name in differ:
        print(f"the test items reach {name}")
    return int(bool(differ))


def differences(one: Path, other: Path) -> Iterator[str]:
    """The files in which two bundles differ, the time at which they were made aside."""
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir()})
    for name in names:
        a, b = (_content(folder / name) for folder in (one, other))
        if a != b:
            yield name


def _content(path: Path) -> Any:
    if not path.exists():
        return None
    if path.name == MANIFEST:
        return {**read_json(path), "created": ""}
    return path.read_bytes()
