"""A process is killed at 200 as-of times while it observes, updates, takes deltas and writes bundles.

Nothing that was acknowledged is lost, and the next process always recommends. Children are forked before anything has
threads, so that two hundred of them take seconds.
"""

import os
import random
import shutil
import signal
import time

import pytest

from edgerec.bundle import Bundle, write_bundle
from edgerec.bundle.delta import make_delta
from edgerec.bundle.policy import Bounds
from edgerec.runtime import Recommender
from edgerec.runtime.store import EventStore
from tests import toy

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and fork")


def killed(work, after_s):
    """Runs `work(acknowledge)` in a child that is killed after so long; what it acknowledged, and whether it ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            work(lambda number: os.write(write, f"{number}\n".encode()))
        finally:
            os._exit(0)
    os.close(write)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(read) as told:
        return [int(line) for line in told.read().splitlines()], not os.WIFSIGNALED(status)


def bundle(folder, version, n_items):
    folder.mkdir(parents=True)
    write_bundle(folder / "bundle", toy.files(folder, n_items, 4), {**toy.manifest(n_items, 4), "version": version})
    return folder / "bundle"


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    home = tmp_path_factory.mktemp("versions")
    bundles = {v: bundle(home / f"v{v}", v, 8 + v) for v in (1, 2, 3)}
    make_delta(bundles[1], bundles[2], home / "delta")
    return {**bundles, "delta": home / "delta"}


def opened(folder):
    """The self-test runs in the killed process: what matters here is when files change."""
    rec = Recommender.open(folder, engine="numpy")
    rec._device.updates.python = None
    return rec


def moments(n, most_s, seed, enough):
    """`n` times to kill at; on a machine so slow, or fast, that it is not `enough`, some later and earlier ones."""
    choose = random.Random(seed)
    yield from (choose.random() * most_s for _ in range(n))
    for factor in (2, 4, 8, 16, 32):
        for _ in range(8):
            if enough():
                return
            yield choose.random() * most_s * choose.choice((factor, 1 / factor))


def test_no_acknowledged_event_is_lost_at_80_moments(tmp_path):
    path, told = tmp_path / "s.sqlite", []
    unbounded = Bounds(rows=10**9, bytes=10**9)  # thousands fit into 30 ms where the files are in memory

    def observe(acknowledge):
        store = EventStore(path, unbounded)
        for number in range(len(told), 10**9):
            store.events.append(str(number), "click", number, {"tab": "home"}, event_id=str(number))
            acknowledge(number)

    for after_s in moments(80, 0.03, 0, lambda: len(told) > 200):
        told.extend(killed(observe, after_s)[0])
        told[:] = dict.fromkeys(told)
        store = EventStore(path, unbounded)
        kept = [int(item) for item in store.events.read(("click",)).item]
        assert set(told) <= set(kept) and len(set(kept)) == len(kept)
        assert store.size()["damaged"] == 0
        store.close()
        told[:] = sorted(kept)  # the last one may be on the disk without its acknowledgement
    assert len(told) > 200


def usable(shipped):
    """Opens the device's recommender and asks it; the version that answers."""
    with Recommender.open(shipped, engine="numpy") as rec:
        assert len(rec.recommend(k=3)) == 3
        assert rec.check() == 1
        return rec.bundle.manifest.version


@pytest.mark.slow
@pytest.mark.parametrize(("source", "n", "most_s"), [(2, 50, 0.06), ("delta", 40, 0.06)])
def test_a_device_is_usable_after_an_update_is_cut_off(tmp_path, versions, source, n, most_s):
    met = set()
    for number, after_s in enumerate(moments(n, most_s, 1, lambda: met == {1, 2})):
        device = tmp_path / str(number)
        device.mkdir()
        shutil.copytree(versions[1], device / "bundle")

        def update(acknowledge, device=device):
            with opened(device / "bundle") as rec:
                rec.update(versions[source])
                acknowledge(rec.bundle.manifest.version)

        acknowledged, _ = killed(update, after_s)
        version = usable(device / "bundle")
        assert version == 2 if acknowledged else version in (1, 2)
        with opened(device / "bundle") as rec:  # and the update can be taken again
            assert rec.update(versions[3]) == "toy 3"
        assert usable(device / "bundle") == 3
        met.add(version)
    assert met == {1, 2}  # both sides of the swap were met


def test_a_bundle_that_is_replaced_is_always_whole(tmp_path, versions):
    target, met = tmp_path / "bundle", set()
    shutil.copytree(versions[1], target)

    def write(acknowledge):
        for number in range(10**9):
            version = 1 + number % 2
            manifest = {**toy.manifest(8 + version, 4), "version": version}
            write_bundle(target, content[version], manifest)
            acknowledge(version)

    content = {v: {p.name: p.read_bytes() for p in versions[v].iterdir() if p.name != "manifest.json"} for v in (1, 2)}
    for after_s in moments(30, 0.06, 2, lambda: met == {1, 2}):
        killed(write, after_s)
        opened = Bundle.open(target)
        met.add(opened.manifest.version)
        assert len(opened.manifest.files) == 9
    assert met == {1, 2}
