"""How large a bundle is."""

from __future__ import annotations

from edgerec.bundle import write_bundle
from edgerec.bundle.size import BundleSize, bundle_size
from tests import toy


def test_a_bundle_is_its_graphs_and_weights_its_catalogue_and_the_rest(tmp_path):
    write_bundle(tmp_path / "b", toy.files(tmp_path, 8, 4), toy.manifest(8, 4))
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "b").iterdir()}
    graphs = sum(size for name, size in sizes.items() if name.endswith(".onnx"))
    size = bundle_size(tmp_path / "b")

    assert size == BundleSize(graphs + sizes["weights.bin"], sizes["catalog.sqlite"], sum(sizes.values()))
    assert size.without_catalog == size.total - sizes["catalog.sqlite"]
    assert "manifest.json" in sizes
