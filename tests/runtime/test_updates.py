"""Versions side by side on a device."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from edgerec.bundle import Bundle, write_bundle
from edgerec.bundle.delta import make_delta
from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.errors import BundleError, ConfigError
from edgerec.runtime import Recommender, updates
from edgerec.runtime.model import Model
from tests import toy


def bundle(folder, version, n_items=8, content=None, **changes):
    """A version of the toy bundle; `content` replaces files."""
    folder.mkdir(parents=True)
    manifest = {**toy.manifest(n_items, 4), "version": version, **changes}
    write_bundle(folder / "bundle", {**toy.files(folder, n_items, 4), **(content or {})}, manifest)
    return folder / "bundle"


@pytest.fixture
def shipped(tmp_path):
    return bundle(tmp_path / "app", 1)


def version(rec):
    return rec.bundle.manifest.version


def test_an_update_is_used_at_once_and_after_a_restart(tmp_path, shipped):
    with Recommender.open(shipped, store=tmp_path / "s.sqlite") as rec:
        rec.observe("i8", time=toy.NOW_MS)
        assert rec.update(bundle(tmp_path / "v2", 2, n_items=9)) == "toy 2"
        assert rec.arrays.rank(9, now=toy.NOW_MS).history.tolist() == [8]
    shutil.rmtree(tmp_path / "v2")  # the stick is pulled out
    with Recommender.open(shipped, store=tmp_path / "s.sqlite") as rec:
        assert version(rec) == 2 and len(rec.recommend(k=9)) == 9
    assert version(Recommender.of(shipped)) == 1


def test_a_delta_is_taken_like_a_bundle(tmp_path, shipped):
    new = bundle(tmp_path / "v2", 2, n_items=9)
    make_delta(shipped, new, tmp_path / "delta")
    with Recommender.open(shipped) as rec:
        assert rec.update(tmp_path / "delta") == "toy 2"
        assert rec.update(new) == "toy 2"  # the same version: nothing to do
        assert len(rec.recommend(k=9)) == 9
        with pytest.raises(BundleError, match="is for version 1 of 'toy', and this is 'toy' 2"):
            rec.update(tmp_path / "delta")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: bundle(p, 1, n_items=9), "has version 1, and 1 is in use; only a higher one is taken"),
        (lambda p: bundle(p, 2, name="other"), "is a bundle 'other', and 'toy' is in use"),
        (lambda p: bundle(p, 2, content={"recommend.onnx": b"no graph"}), "self-test failed.*does not load"),
        (lambda p: bundle(p, 2, content={"policy.json": b"{]"}), "self-test failed.*not valid JSON"),
        (lambda p: bundle(p, 2, content={"weights.bin": bytes(176)}), "self-test failed.*conformance request 0"),
        (lambda p: p, "no bundle here"),
    ],
)
def test_what_is_not_fit_is_refused_and_the_old_version_goes_on(tmp_path, shipped, build, message):
    with Recommender.open(shipped) as rec:
        before = [r.item for r in rec.recommend(now=toy.NOW_MS)]
        with pytest.raises(BundleError, match=message):
            rec.update(build(tmp_path / "v2"))
        assert [r.item for r in rec.recommend(now=toy.NOW_MS)] == before
    with Recommender.open(shipped) as rec:
        assert version(rec) == 1
    assert not [p for p in (tmp_path / "app" / "bundle.updates").iterdir() if p.is_dir()]


def test_a_damaged_copy_and_a_link_are_refused(tmp_path, shipped):
    new = bundle(tmp_path / "v2", 2)
    (new / "weights.bin").write_bytes(bytes(176))
    with Recommender.open(shipped) as rec:
        with pytest.raises(BundleError, match=r"weights.bin: damaged"):
            rec.update(new)
        (new / "weights.bin").unlink()
        (new / "weights.bin").symlink_to(shipped / "weights.bin")
        with pytest.raises(BundleError, match="not a plain file"):
            rec.update(new)


def test_a_pinned_key_refuses_what_it_has_not_signed(tmp_path, shipped):
    pytest.importorskip("cryptography")
    make_keys(tmp_path / "k", tmp_path / "k.pub")
    sign_bundle(shipped, tmp_path / "k")
    new = bundle(tmp_path / "v2", 2)
    with Recommender.open(shipped, public_key=tmp_path / "k.pub") as rec:
        with pytest.raises(BundleError, match="is not signed"):
            rec.update(new)
        sign_bundle(new, tmp_path / "k")
        make_delta(shipped, new, tmp_path / "delta")
        assert rec.update(tmp_path / "delta") == "toy 2"
    with Recommender.open(shipped, public_key=tmp_path / "k.pub") as rec:
        assert version(rec) == 2


def test_a_version_that_is_damaged_later_is_rolled_back_and_not_taken_again(tmp_path, shipped):
    new = bundle(tmp_path / "v2", 2)
    with Recommender.open(shipped) as rec:
        rec.update(new)
        name = rec.bundle.folder.name
    installed = tmp_path / "app" / "bundle.updates" / name / "weights.bin"
    installed.write_bytes(installed.read_bytes()[:-1])
    with Recommender.open(shipped) as rec:
        assert version(rec) == 1
        assert rec.health()["rolled_back"] == [name]
        with pytest.raises(BundleError, match="has failed on this device before"):
            rec.update(new)
        assert rec.update(bundle(tmp_path / "v3", 3)) == "toy 3"


def test_the_version_before_comes_back_not_the_first(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        for number in (2, 3):
            rec.update(bundle(tmp_path / f"v{number}", number))
        name = rec.bundle.folder.name
    (tmp_path / "app" / "bundle.updates" / name / "manifest.json").write_text("{}")
    with Recommender.open(shipped) as rec:
        assert version(rec) == 2


def test_a_version_that_kills_its_process_is_rolled_back_after_three_starts(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        assert rec._device.updates.install(bundle(tmp_path / "v2", 2), rec.bundle) is not None

    class Killed(Exception):
        """Stands for the end of the process: nobody catches it."""

    def die(loaded):
        raise Killed

    home = updates.Updates(shipped)
    for _ in range(updates.MAX_STARTS):
        with pytest.raises(Killed):
            home.open(die)
    with Recommender.open(shipped) as rec:
        assert version(rec) == 1
        assert len(rec.health()["rolled_back"]) == 1


def test_an_app_that_brings_a_newer_bundle_goes_before_an_older_update(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        rec.update(bundle(tmp_path / "v2", 2))
    shutil.rmtree(shipped)
    bundle(tmp_path / "v5", 5).rename(shipped)
    with Recommender.open(shipped) as rec:
        assert version(rec) == 5


def test_no_more_than_two_versions_are_kept(tmp_path, shipped):
    with Recommender.open(shipped, updates=tmp_path / "state") as rec:
        for number in range(2, 6):
            rec.update(bundle(tmp_path / f"v{number}", number))
    assert len([p for p in (tmp_path / "state").iterdir() if p.is_dir()]) == 2
    assert not (tmp_path / "app" / "bundle.updates").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"current": "../../etc"}', b"\xff", b"[" * 9999])
def test_a_damaged_state_is_none(tmp_path, shipped, content):
    with Recommender.open(shipped) as rec:
        rec.update(bundle(tmp_path / "v2", 2))
    (tmp_path / "app" / "bundle.updates" / "state.json").write_bytes(content)
    with Recommender.open(shipped) as rec:
        assert version(rec) == 1


def test_a_recommender_of_one_bundle_is_not_updated(shipped, tmp_path):
    with Recommender.of(shipped) as rec, pytest.raises(ConfigError, match="open it with Recommender"):
        rec.update(tmp_path)


def test_a_crash_in_the_self_test_takes_only_that_process(tmp_path, shipped):
    new = bundle(tmp_path / "v2", 2)
    (tmp_path / "crash").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "crash").chmod(0o755)
    versions = updates.Updates(shipped, python=str(tmp_path / "crash"))
    with pytest.raises(BundleError, match=f"ended with -{signal.SIGSEGV.value}"):
        versions.install(new, Bundle.open(shipped))


def test_where_no_process_can_be_started_the_self_test_runs_here(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        rec._device.updates.python = None
        with pytest.raises(BundleError, match="conformance request 0"):
            rec.update(bundle(tmp_path / "bad", 2, content={"weights.bin": np.zeros(44, np.float32).tobytes()}))
        assert rec.update(bundle(tmp_path / "v2", 2)) == "toy 2"


def test_state_is_one_small_file(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        rec.update(bundle(tmp_path / "v2", 2))
        state = json.loads((tmp_path / "app" / "bundle.updates" / "state.json").read_text())
    assert state == {"bad": [], "confirmed": True, "current": rec.bundle.folder.name, "previous": None, "starts": 0}


def test_a_version_that_passes_its_test_and_does_not_load_here_is_refused(tmp_path, shipped):
    def load(bundle):
        if bundle.manifest.version == 2:
            raise BundleError("does not load")
        return Model(bundle)

    with Recommender.open(shipped) as rec:
        rec._device.load = load
        with pytest.raises(BundleError, match="cannot be loaded here; the old version stays in use"):
            rec.update(bundle(tmp_path / "v2", 2))
        assert version(rec) == 1 and len(rec.recommend(k=3)) == 3
        assert len(rec.health()["rolled_back"]) == 1


def test_workers_that_start_at_once_agree_on_an_update_that_nobody_has_tried(tmp_path, shipped):
    with Recommender.open(shipped) as rec:
        assert rec._device.updates.install(bundle(tmp_path / "v2", 2), rec.bundle) is not None
    code = (
        "import sys; from edgerec.runtime import Recommender\n"
        "with Recommender.open(sys.argv[1], engine='numpy') as rec: print(rec.bundle.manifest.version)"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(shipped)], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    assert [worker.communicate()[0] for worker in workers] == ["2\n"] * 8
    with Recommender.open(shipped) as rec:
        assert rec.health()["rolled_back"] == []


def test_a_process_goes_on_with_a_version_that_others_have_swept(tmp_path, shipped):
    with Recommender.open(shipped) as other:
        other.update(bundle(tmp_path / "v2", 2))
        with Recommender.open(shipped) as slow:
            for number in (3, 4):
                other.update(bundle(tmp_path / f"v{number}", number))
            assert not slow.bundle.folder.exists()
            rows = slow.recommend(k=3, now=toy.NOW_MS, diversity=0.5)
            assert len(rows) == 3 and slow.score(["i1"]) and slow.similar("i1")
