"""Many threads and many requests: no wrong list, no lock error, no growth."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgerec.bundle import write_bundle
from edgerec.runtime import Events, Recommender
from tests import toy

NOW = toy.NOW_MS
STATM = Path("/proc/self/statm")


def bundle(folder, version, n_items):
    folder.mkdir(parents=True)
    write_bundle(folder / "bundle", toy.files(folder, n_items, 4), {**toy.manifest(n_items, 4), "version": version})
    return folder / "bundle"


@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
def test_eight_threads_get_right_lists_while_events_are_written_and_an_update_lands(tmp_path, engine, capsys):
    versions = [bundle(tmp_path / f"v{v}", v, 8 + v) for v in (1, 2, 3)]
    past = Events(["i5", "i2"], np.zeros(2, np.int64), np.full(2, NOW))
    wanted = {}
    for folder in versions:
        with Recommender.of(folder, engine) as rec:
            plain = rec.recommend(k=6, history=past, now=NOW, where="price > 1", diversity=0.2)
            wanted[rec.bundle.manifest.version] = [r.item for r in plain]
    lists, problems, written, stop = [0] * 8, [], [0], threading.Event()

    def ask(at):
        try:
            while not stop.is_set():
                recommended = rec.recommend(k=6, history=past, now=NOW, where="price > 1", diversity=0.2)
                if [r.item for r in recommended] not in wanted.values():
                    problems.append([r.item for r in recommended])
                own = rec.profile(f"user {at}").recommend(k=3, now=NOW, log=at % 2 == 0)
                assert len(own) == 3 and own[0].attributes is not None
                lists[at] += 1
        except Exception as error:
            problems.append(repr(error))

    def write():
        try:
            while not stop.is_set():
                number = written[0]
                assert rec.profile(f"user {number % 8}").observe(f"i{number % 9}", time=NOW, event_id=str(number))
                written[0] += 1
        except Exception as error:
            problems.append(repr(error))

    with Recommender.open(versions[0], store=tmp_path / "s.sqlite", engine=engine) as rec:
        threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
        threads += [threading.Thread(target=write) for _ in range(1)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for folder in versions[1:]:
            time.sleep(0.5)
            rec.update(folder)
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        assert problems == []
        assert rec.bundle.manifest.version == 3
        assert rec.health()["events"] == written[0] and rec.health()["lost"] == 0
    assert min(lists) > 0
    with capsys.disabled():
        print(f"\n{engine}: {2 * sum(lists) / seconds:.0f} lists and {written[0] / seconds:.0f} events a second")


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
def test_two_hundred_thousand_requests_with_events_do_not_grow(tmp_path, capsys):
    folder = bundle(tmp_path / "v", 1, 400)
    random = np.random.default_rng(0)
    sizes, rows = [], 0
    with Recommender.open(folder, store=tmp_path / "s.sqlite") as rec:
        bounds = rec._memory.store.bounds
        users = [rec.profile(str(number)) for number in range(20)]
        for number in range(200_000):
            user = users[number % 20]
            recommended = user.recommend(
                k=5, now=NOW + number, explain=number % 10 == 0, log=number % 50 == 0,
                where=f"price < {random.integers(100, 400)}" if number % 7 == 0 else None,
            )  # fmt: skip
            if number % 10 == 0:
                user.observe(recommended[int(random.integers(5))].item, time=NOW + number)
            if number % 1000 == 0:
                user.score([f"unknown {number}"[:0] or "i1"])
                rec.arrays.index_of(f"unknown {number}")
            if number >= 50_000 and number % 10_000 == 0:
                sizes.append(resident_bytes())
        rows = rec.health()["events"]
        assert rows <= bounds.rows and rec.health()["bytes"] <= bounds.bytes
        assert rec.health()["lost"] == 0
    growth = max(sizes) / sizes[0] - 1
    with capsys.disabled():
        print(f"\nresident {sizes[0] / 1e6:.1f} MB, at most {growth:+.2%} later; {rows} events")
    assert growth < 0.05
