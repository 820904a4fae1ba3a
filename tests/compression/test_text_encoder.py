"""The teacher's text model as INT8 ONNX, read without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.errors import BundleError
from edgerec.examples.text_vectors import encode
from edgerec.models.text import POOLINGS, LanguageModel
from edgerec.progress import Silent
from edgerec.runtime import texts as light
from tests import tiny
from tests.models.test_text import make_model

WORDS = ["tea cup", "red oil", "red tea cup", "cup", "oil oil tea", "绿茶", ""]


def test_poolings_are_those_of_training():
    import torch

    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 4, 5)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])

    assert light.POOLINGS.keys() == POOLINGS.keys()
    for name, pool in POOLINGS.items():
        wanted = pool(torch.from_numpy(states), torch.from_numpy(mask)).numpy()
        assert light.POOLINGS[name](states, mask.astype(np.float32)) == pytest.approx(wanted, abs=1e-6), name


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def exported(request, tmp_path_factory):
    """A run whose items have texts, the model that reads them, and what `edgerec encoder` printed."""
    pytest.importorskip("optimum.onnxruntime")
    folder = tmp_path_factory.mktemp(request.param)
    model = make_model(folder / "model", request.param)
    tiny.write(folder)
    settings = tiny.settings(teacher={"text_model": model, "text_components": 4})
    settings["data"]["items"] = {"text": ["shelf"]}
    (folder / "edgerec.toml").write_text(tiny.toml(settings))
    common = ["-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    for command in (["prepare"], ["encoder", "--json"]):
        result = CliRunner().invoke(app, [command[0], *common, *command[1:]], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return folder, model, json.loads(result.stdout)


def test_vectors_are_near_those_of_torch_and_known_by_a_process_without_it(exported):
    folder, model, report = exported
    theirs = encode(LanguageModel.load(model), WORDS, Silent())
    ours = light.TextEncoder.open(folder / "run" / "encoder").encode(WORDS)
    told = np.any(theirs != 0, axis=1)

    assert told.tolist() == np.any(ours != 0, axis=1).tolist()
    assert (ours * theirs).sum(1)[told].min() > 0.9  # 16 numbers wide, so INT8 is coarse
    assert report["cosine"] > 0.9 and report["texts"] == 40
    code = (
        "import sys; from edgerec.runtime.texts import TextEncoder; "
        f"print(TextEncoder.open({str(folder / 'run' / 'encoder')!r}).components(['tea cup']).shape)"
        "; print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False")


def test_a_damaged_encoder_and_a_folder_with_something_else_are_refused(tmp_path, exported):
    folder, _, _ = exported
    shutil.copytree(folder / "run" / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / light.MODEL).write_bytes(b"no graph")

    with pytest.raises(BundleError, match="is not a text encoder"):
        light.TextEncoder.open(tmp_path / "encoder")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    common = ["-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run"), "-o", str(tmp_path / "mine")]
    result = CliRunner().invoke(app, ["encoder", *common])
    assert result.exit_code == 2 and "is not a text encoder" in result.stderr
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_a_browser_encodes_no_texts(tmp_path):
    tiny.write(tmp_path)
    (tmp_path / "edgerec.toml").write_text(tiny.toml(tiny.settings()))
    result = CliRunner().invoke(app, ["encoder", "-c", str(tmp_path / "edgerec.toml"), "--device", "web-wasm"])

    assert result.exit_code == 2
    assert "web-wasm encodes no texts: its instruction set is wasm-simd128" in result.stderr
