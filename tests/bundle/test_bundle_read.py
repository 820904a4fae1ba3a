import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.bundle import FORMAT, Bundle, Manifest
from edgerec.errors import BundleError
from tests import toy

GRAPHS = ["recommend.onnx", "score.onnx", "similar.onnx", "vectors.onnx"]
ALL_FILES = sorted([*GRAPHS, "weights.bin", "catalog.sqlite", "policy.json", "conformance.json", "report.json"])


def edit(bundle, change):
    """Change the parsed manifest of a bundle in place."""
    path = bundle / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def refused(bundle, match):
    with pytest.raises(BundleError, match=match) as caught:
        Bundle.open(bundle)
    assert "\n" not in str(caught.value)


def test_a_whole_bundle_opens_and_its_manifest_is_typed(toy_bundle):
    bundle = Bundle.open(toy_bundle)

    assert sorted(bundle.manifest.files) == ALL_FILES
    assert bundle.manifest.tasks == toy.TASKS
    assert bundle.manifest.tensors[0].shape == (8, 4)
    assert bundle.path("weights.bin").read_bytes()[:128] == toy.table(8, 4).tobytes()
    assert bundle.json("policy.json")["weights"] == {"next": 1.0}


@pytest.mark.parametrize("name", ALL_FILES)
def test_one_flipped_bit_in_any_file_is_found(toy_bundle, name):
    path = toy_bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    refused(toy_bundle, f"{name}: damaged")


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_truncated_file_is_found(toy_bundle, name):
    size = (toy_bundle / name).stat().st_size
    os.truncate(toy_bundle / name, size - 1)

    refused(toy_bundle, f"{name}: {size - 1} bytes, expected {size}")


def test_a_missing_file_is_named(toy_bundle):
    (toy_bundle / "weights.bin").unlink()
    refused(toy_bundle, "weights.bin: listed in manifest.json but missing")


def test_an_unlisted_file_is_refused(toy_bundle):
    (toy_bundle / "extra.so").write_bytes(b"")
    refused(toy_bundle, "extra.so: not listed")


def test_a_link_is_refused_though_its_target_is_right(toy_bundle, tmp_path):
    shutil.move(toy_bundle / "weights.bin", tmp_path / "elsewhere.bin")
    (toy_bundle / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")

    refused(toy_bundle, r"weights.bin: .* plain files only")


def test_a_folder_in_place_of_a_file_is_refused(toy_bundle):
    (toy_bundle / "report.json").unlink()
    (toy_bundle / "report.json").mkdir()
    refused(toy_bundle, r"report.json: .* plain files only")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "a\\b", "C:x", "..", ".", "", "a\nb", "a\0b", ".x"]
)
def test_a_path_that_could_leave_the_bundle_is_refused(toy_bundle, name):
    edit(toy_bundle, lambda m: m["files"].update({name: m["files"]["report.json"]}))
    refused(toy_bundle, "not a plain file name")


def test_another_format_version_is_refused(toy_bundle):
    edit(toy_bundle, lambda m: m.update(format=FORMAT + 1))
    refused(toy_bundle, "format 2, this edgerec reads 1")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    refused(tmp_path, "no bundle here")
    refused(tmp_path / "nowhere", "no bundle here")


@pytest.mark.parametrize("key", ["name", "tasks", "n_items", "inputs", "files", "tensors"])
def test_a_missing_key_is_named(toy_bundle, key):
    edit(toy_bundle, lambda m: m.pop(key))
    refused(toy_bundle, f"{key} is missing")


def test_two_equal_keys_are_refused():
    with pytest.raises(BundleError, match="occurs twice"):
        Manifest.parse('{"format": 1, "format": 1}')


def test_a_deep_manifest_does_not_end_the_process():
    with pytest.raises(BundleError, match="not valid JSON"):
        Manifest.parse("[" * 100_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(text=st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_manifest_or_a_bundle_error(text):
    with pytest.raises(BundleError):
        Manifest.parse(text)


@settings(max_examples=200)
@given(data=st.data())
def test_any_value_in_any_key_is_a_manifest_or_a_bundle_error(data):
    fields = {"format": 1, "files": {}, **toy.manifest(8, 4)}
    entry = {"sha256": "0" * 64, "bytes": 1}
    fields["files"] = dict.fromkeys(ALL_FILES, entry)
    key = data.draw(st.sampled_from(sorted(fields)))
    inner = data.draw(st.booleans())
    if inner and isinstance(fields[key], dict) and fields[key]:
        part = data.draw(st.sampled_from(sorted(fields[key])))
        fields[key] = {**fields[key], part: data.draw(json_values)}
    elif inner and isinstance(fields[key], list):
        fields[key] = [data.draw(json_values)]
    else:
        fields[key] = data.draw(json_values)

    try:
        Manifest.parse(json.dumps(fields))
    except BundleError as error:
        assert "\n" not in str(error)


def test_a_bundle_that_relates_nothing_says_which_task_and_column_to_add(toy_bundle):
    (toy_bundle / "similar.onnx").unlink()
    edit(toy_bundle, lambda fields: fields["files"].pop("similar.onnx"))
    with pytest.raises(BundleError, match=r'name = "related", kind = "related".* and session = COLUMN to \[data\]'):
        Bundle.open(toy_bundle).path("similar.onnx")
    edit(toy_bundle, lambda fields: fields["settings"]["data"].update(session="basket"))
    with pytest.raises(BundleError) as with_sessions:
        Bundle.open(toy_bundle).path("similar.onnx")
    assert "session = COLUMN" not in str(with_sessions.value)


FALLBACK = {
    "baseline": "recent_popularity",
    "detail": "1 popularity of half-life 1 day",
    "with_student": False,
    "used": True,
    "metric": "ndcg@10",
    "value": 0.3,
    "of_student": 0.2,
    "n": 500,
}


def test_a_manifest_says_which_task_a_baseline_ranks_and_most_say_nothing(toy_bundle):
    assert not Bundle.open(toy_bundle).manifest.fallback
    edit(toy_bundle, lambda fields: fields.update(fallback={"next": FALLBACK}))

    alone = Bundle.open(toy_bundle).manifest.fallback["next"]
    name = "recent popularity (1 popularity of half-life 1 day)"
    figures = "ndcg@10 0.3000 against 0.2000 on 500 requests before the test"
    assert str(alone) == f"ranked by {name} in place of the student alone: {figures}"
    assert str(alone._replace(with_student=True)).startswith(f"ranked by the student and {name}")
    assert str(alone._replace(used=False)) == (
        f"{name} ranked better than the student, and a bundle has no form for it: {figures}"
    )
    told = alone._replace(baseline="rates", detail="1 rate of item", metric="auc", value=0.7, of_student=0.6)
    assert str(told) == (
        "predicted by rates (1 rate of item) in place of the student alone: "
        "auc 0.7000 against 0.6000 on 500 impressions before the test"
    )


@pytest.mark.parametrize(
    ("fallback", "match"),
    [
        ([], "fallback must be an object"),
        ({"other": FALLBACK}, "names 'other', which is no task"),
        ({"next": 1}, "fallback must be an object"),
        ({"next": {**FALLBACK, "baseline": "<b>x</b>"}}, "must name a baseline"),
        ({"next": {**FALLBACK, "detail": "a\nb"}}, "fallback.detail must be a few plain words"),
        ({"next": {**FALLBACK, "used": 1}}, "used must be"),
        ({"next": {**FALLBACK, "value": None}}, "fallback.value must be a number"),
        ({"next": {**FALLBACK, "metric": "auc"}}, "fallback.metric must be 'ndcg@10' of 'next', got 'auc'"),
        ({"next": {**FALLBACK, "n": -1}}, "n must not be negative"),
    ],
)
def test_a_fallback_of_another_form_is_refused(toy_bundle, fallback, match):
    edit(toy_bundle, lambda fields: fields.update(fallback=fallback))
    refused(toy_bundle, match)
