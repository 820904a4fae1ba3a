"""Tables on disk: what is packed comes back, and takes the bytes that it should."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgerec.compression.graph import GraphBuilder, pack
from edgerec.compression.storage import STORAGES, Int4Storage, Int8Storage, ProductStorage


def unpacked(storage, folder):
    """Codes (dim, N) as a session sees them, and the bytes on disk."""
    g = GraphBuilder("codes")
    g.output(storage.codes(g), "codes", TensorProto.INT8, ["d", "n"])
    (model,), tensors = pack([g], folder / "weights.bin")
    (folder / "codes.onnx").write_bytes(model)
    session = ort.InferenceSession(str(folder / "codes.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {})[0], {t["name"]: t["bytes"] for t in tensors}


def table_of(n, dim, seed=0):
    table = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return table, (np.abs(table).max(axis=1) / 127).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 70), dim=st.integers(1, 9), seed=st.integers(0, 9))
def test_four_bits_come_back_for_every_shape(tmp_path_factory, n, dim, seed):
    table, _ = table_of(n, dim, seed)
    scales = (np.abs(table).max(axis=1) / 7).astype(np.float32)
    codes, _ = unpacked(Int4Storage.of(table, scales), tmp_path_factory.mktemp("nibbles"))

    values = (codes.astype(np.float32) - 8) * scales
    assert codes.min() >= 1 and codes.max() <= 15
    assert (np.abs(values.T - table) <= scales[:, None] / 2 * 1.001).all()


@pytest.mark.parametrize(("name", "bytes_an_item"), [("int8", 16), ("int4", 8), ("pq", 8)])
def test_a_table_takes_a_byte_or_half_of_one_a_number(tmp_path, name, bytes_an_item):
    table, scales = table_of(2_000, 16)
    _, sizes = unpacked(STORAGES[name](table, scales), tmp_path)

    assert sizes.pop("item_table") == 2_000 * bytes_an_item
    assert sum(sizes.values()) <= 8 * 256 * 2  # the codebooks, whatever the number of items


def test_pairs_of_a_codebook_are_nearer_than_four_bits_are(tmp_path):
    table, scales = table_of(3_000, 32)
    coarse = (np.abs(table).max(axis=1) / 7).astype(np.float32)
    errors = {}
    for name, storage in (("pq", ProductStorage.of(table, scales)), ("int4", Int4Storage.of(table, coarse))):
        codes, _ = unpacked(storage, tmp_path)
        errors[name] = np.square((codes.astype(np.float32) - storage.zero) * storage.scales - table.T).mean()

    assert errors["pq"] < errors["int4"] < 0.05


def test_a_table_of_zeros_stays_one(tmp_path):
    table = np.zeros((5, 4), np.float32)
    for storage in (ProductStorage.of(table, np.ones(5, np.float32)), Int8Storage.of(table, np.ones(5, np.float32))):
        assert not unpacked(storage, tmp_path)[0].any()
