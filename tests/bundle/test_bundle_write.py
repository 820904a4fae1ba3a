import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.bundle import Bundle, write_bundle
from edgerec.errors import BundleError
from tests import toy


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, second = toy.write(tmp_path / "a"), toy.write(tmp_path / "b")
    assert content_of(first) == content_of(second)


def test_a_newer_bundle_replaces_the_older_whole(tmp_path):
    toy.write(tmp_path, n_items=8)
    toy.write(tmp_path, n_items=9)

    assert Bundle.open(tmp_path / "bundle").manifest.n_items == 9
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_disk_that_fills_leaves_the_old_bundle_whole(toy_bundle, tmp_path, monkeypatch):
    before = content_of(toy_bundle)
    calls = iter(range(100))

    def fsync(_):
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BundleError, match=r"could not be written \(No space left on device\).*free some space"):
        toy.write(tmp_path, n_items=9)

    assert content_of(toy_bundle) == before
    assert Bundle.open(toy_bundle).manifest.n_items == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


def in_another_process(code, folder):
    """Run `code` with `toy`, and `folder` as a path, in a process that may die."""
    start = f"from pathlib import Path; from tests import toy; folder = Path({str(folder)!r})\n"
    root = Path(toy.__file__).parents[1]
    command = [sys.executable, "-c", start + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


@pytest.mark.skipif(os.name != "posix", reason="needs a file size limit of the system")
def test_a_limit_of_the_system_leaves_the_old_bundle_whole(toy_bundle, tmp_path):
    """The kernel, not a mock, refuses the write in the middle of a file."""
    before = content_of(toy_bundle)
    code = (
        "import resource, signal\n"
        "files = toy.files(folder, 9, 4)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "toy.write_bundle(folder / 'bundle', files, toy.manifest(9, 4))\n"
    )
    run = in_another_process(code, tmp_path)

    assert "BundleError" in run.stderr and "could not be written" in run.stderr
    assert content_of(toy_bundle) == before


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(("renames", "n_items"), [(0, 8), (1, 8), (2, 9)])
def test_a_process_killed_in_the_swap_leaves_a_whole_bundle(toy_bundle, tmp_path, renames, n_items):
    code = (
        "import os, signal\n"
        f"rename, left = Path.rename, [None] * {renames}\n"
        "def dying(self, target):\n"
        "    left.pop() if left else os.kill(os.getpid(), signal.SIGKILL)\n"
        "    rename(self, target)\n"
        "Path.rename = dying\n"
        "toy.write(folder, n_items=9)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert in_another_process(code, tmp_path).returncode == -9

    assert Bundle.open(toy_bundle).manifest.n_items == n_items
    toy.write(tmp_path, n_items=10)
    assert Bundle.open(toy_bundle).manifest.n_items == 10
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("years of work")

    with pytest.raises(BundleError, match="is not a bundle"):
        toy.write(tmp_path)
    assert (tmp_path / "bundle" / "thesis.tex").read_text() == "years of work"


def test_a_name_that_leaves_the_folder_is_never_written(tmp_path):
    with pytest.raises(BundleError, match="not a plain file name"):
        write_bundle(tmp_path / "bundle", {"../evil": b""}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_could_not_be_read_back_is_never_swapped_in(toy_bundle, tmp_path):
    fields = {**toy.manifest(8, 4), "n_items": -1}
    with pytest.raises(BundleError, match="n_items must not be negative"):
        write_bundle(toy_bundle, toy.files(tmp_path, 8, 4), fields)
    assert Bundle.open(toy_bundle).manifest.n_items == 8
