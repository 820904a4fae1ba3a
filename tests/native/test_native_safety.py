"""Nothing that a student.bin holds leads the native engine out of its memory, and the tests would notice if it did."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.students import TASKS, random_student
from tools.native_builds import SOURCES

TARGET = Path(__file__).parent / "fuzz.c"
SANITIZED = ("-std=c11", "-O1", "-g", "-Wno-unknown-pragmas", "-ffp-contract=off", "-fno-sanitize-recover=all")
SMALL = {"heads": 1, "inner": 3, "context": 3, "pooling": 3, "repeat": 3, "head": 3, "item": 4}
SEEDS = (
    (20, (2,), "int8", (*TASKS[1:3], TASKS[-1]), {"dim": 4, "transitions": 2, **SMALL}),
    (30, (), "int4", TASKS[:1], {"dim": 7, **SMALL}),
    (9, (3, 2), "pq", TASKS[2:5], {"dim": 2, "transitions": 1, **SMALL}),
)
RUNS = os.environ.get("EDGEREC_FUZZ_RUNS")
LIMIT = f"-runs={RUNS}" if RUNS else "-max_total_time=20"
"""Of the search in the sources as they are: EDGEREC_FUZZ_RUNS=1000000 before a release."""
PLANTED = {
    "the index of a transition": ("tower.c", "if (next < e->items) return next;", "return next;"),
    "rows and columns": ("open.c", " || s->rows != rows || s->columns != columns)", ")"),
    "the kind of an event": ("tower.c", "r->history_kind[l] < 0 || r->history_kind[l] >= (int64_t)e->kinds", "0"),
    "the task that another comes after": ("open.c", "after >= (int32_t)t || ", ""),
    "the item of a request": ("tower.c", "r->history[l] < 0 || r->history[l] >= e->items", "0"),
    "the size of a workspace's part": ("open.c", "PART(hidden, l * width);", "PART(hidden, l * width - 1);"),
    "the number of events": ("tower.c", " || r->events > own->most_events)", ")"),
}
"""What keeps the engine inside: file, text, and what is put in its place."""


def built(folder, sources, *flags):
    """The target, compiled with the sanitizers; None where this machine's compiler has none."""
    compiler = shutil.which("clang") if "-DALONE" not in flags else shutil.which("clang") or shutil.which("gcc")
    if compiler is None:
        return None
    program = folder / "fuzz"
    files = [*map(str, sorted(sources.glob("*.c"))), str(TARGET)]
    build = [compiler, *SANITIZED, *flags, f"-I{sources}", *files, "-o", str(program)]
    return None if subprocess.run(build, capture_output=True, check=False).returncode else program


def fuzzer(folder, sources=SOURCES):
    program = built(folder, sources, "-fsanitize=fuzzer,address,undefined")
    if program is None:
        pytest.skip("no clang with libFuzzer is installed: apt-get install clang")
    return program


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small files, in which libFuzzer finds its way soon."""
    folder = tmp_path_factory.mktemp("seeds")
    for n, categories, storage, tasks, sizes in SEEDS:
        written = tmp_path_factory.mktemp(storage)
        random_student(written, n, categories, storage, tasks, **sizes)
        shutil.copy(written / "student.bin", folder / f"{storage}.bin")
    return folder


def fuzzed(program, seeds, found, limit):
    """A run of libFuzzer that begins with the seeds."""
    found.mkdir(exist_ok=True)
    command = [program, limit, "-max_len=8192", "-seed=1", "-timeout=600", f"-artifact_prefix={found}/", found, seeds]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_seeds_are_small_and_open(seeds, tmp_path):
    program = fuzzer(tmp_path)

    assert max(path.stat().st_size for path in seeds.iterdir()) <= 5000
    assert fuzzed(program, seeds, tmp_path / "found", "-runs=0").returncode == 0


@pytest.mark.slow
def test_libfuzzer_finds_nothing(seeds, tmp_path):
    run = fuzzed(fuzzer(tmp_path), seeds, tmp_path / "found", LIMIT)

    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("what", PLANTED)
def test_libfuzzer_finds_what_a_missing_check_lets_through(seeds, tmp_path, what):
    name, check, other = PLANTED[what]
    sources = tmp_path / "native"
    shutil.copytree(SOURCES, sources)
    text = (sources / name).read_text()
    assert text.count(check) == 1
    (sources / name).write_text(text.replace(check, other))

    run = fuzzed(fuzzer(tmp_path, sources), seeds, tmp_path / "found", "-max_total_time=120")

    assert run.returncode != 0
    assert "ERROR: AddressSanitizer" in run.stderr or "runtime error" in run.stderr


@pytest.mark.slow
def test_the_sanitizers_find_nothing_in_damaged_files(tiny_chain, tmp_path):
    program = built(tmp_path, SOURCES, "-fsanitize=address,undefined", "-DALONE")
    if program is None:
        pytest.skip("no compiler with an address sanitizer is installed: apt-get install clang")
    student = tiny_chain / "run" / "bundle" / "student.bin"

    run = subprocess.run([program, student, "20000", "1"], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout.split()[0]) > 1000
