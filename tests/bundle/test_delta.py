import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.bundle import Bundle, write_bundle
from edgerec.bundle.delta import apply_delta, make_delta
from edgerec.bundle.difference import make_patch
from edgerec.bundle.patch import apply_patch
from edgerec.errors import BundleError, DataError
from tests import toy

chunks = st.lists(st.binary(max_size=90), max_size=8)


@given(parts=chunks, order=st.lists(st.integers(0, 7), max_size=12), extra=st.binary(max_size=50))
def test_a_patch_gives_the_new_file_back(parts, order, extra):
    old = b"".join(parts)
    new = extra.join(parts[i] for i in order if i < len(parts))
    assert apply_patch(old, make_patch(old, new), len(new)) == new


def test_rows_that_moved_apart_are_copied():
    old = bytes(i * 7 % 251 for i in range(64 * 4000))
    # As when an item joins a table of 64 rows: each of them gets one more byte at its end.
    new = b"".join(old[at : at + 4000] + b"\5" for at in range(0, len(old), 4000))
    patch = make_patch(old, new)
    assert len(patch) < 1500
    assert apply_patch(old, patch, len(new)) == new


@given(patch=st.binary(max_size=60), size=st.integers(0, 100))
def test_any_bytes_are_a_patch_or_a_bundle_error(patch, size):
    for content in (patch, zlib.compress(patch)):
        with suppress(BundleError):
            assert len(apply_patch(b"old" * 20, content, size)) == size


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(b"\0" * 50_000_000)
    with pytest.raises(BundleError, match="leads out of its file"):
        apply_patch(b"", bomb, 100)


def bundle(folder, version, n_items=8, **changes):
    folder.mkdir()
    manifest = {**toy.manifest(n_items, 4), "version": version, **changes}
    write_bundle(folder / "bundle", toy.files(folder, n_items, 4), manifest)
    return folder / "bundle"


def test_a_delta_makes_the_new_bundle_byte_for_byte(tmp_path):
    old, new = bundle(tmp_path / "a", 1), bundle(tmp_path / "b", 2, n_items=9)
    report = make_delta(old, new, tmp_path / "delta")
    out = tmp_path / "out"
    out.mkdir()
    apply_delta(Bundle.open(old), tmp_path / "delta", out)

    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in new.iterdir()}
    assert report.bytes == sum(p.stat().st_size for p in (tmp_path / "delta").iterdir())
    assert "report.json" not in report.changed and "weights.bin" in report.changed


def test_a_delta_is_for_two_versions_of_one_bundle(tmp_path):
    old, same, other = (bundle(tmp_path / n, v, **c) for n, v, c in (
        ("a", 2, {}), ("b", 2, {}), ("c", 3, {"name": "other"})))  # fmt: skip
    with pytest.raises(DataError, match="raise `version`"):
        make_delta(old, same, tmp_path / "delta")
    with pytest.raises(DataError, match=r"is a bundle 'other', but .* is 'toy'"):
        make_delta(old, other, tmp_path / "delta")
    assert not (tmp_path / "delta").exists()


def test_a_delta_for_another_bundle_is_refused(tmp_path):
    old, new, third = (bundle(tmp_path / n, v) for n, v in (("a", 1), ("b", 2), ("c", 3)))
    make_delta(old, new, tmp_path / "delta")
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="is for version 1 of 'toy', and this is 'toy' 3"):
        apply_delta(Bundle.open(third), tmp_path / "delta", tmp_path / "out")


@settings(deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), which=st.integers(0, 20))
def test_a_damaged_delta_never_gives_another_bundle(tmp_path_factory, at, bit, which):
    home = tmp_path_factory.getbasetemp() / "damaged-delta"
    if not home.exists():
        home.mkdir()
        make_delta(bundle(home / "a", 1), bundle(home / "b", 2, n_items=9), home / "delta")
    paths = sorted((home / "delta").iterdir())
    path = paths[which % len(paths)]
    whole = path.read_bytes()
    content = bytearray(whole)
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)
    out = tmp_path_factory.mktemp("out")
    try:
        apply_delta(Bundle.open(home / "a" / "bundle"), home / "delta", out)
        Bundle.open(out)
    except BundleError:
        return
    finally:
        path.write_bytes(whole)
    # The changed byte was redundant, or is for people only: the result is the new bundle all the same.
    new = home / "b" / "bundle"
    same = {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in new.iterdir()}
    assert same or path.name == "manifest.new"
