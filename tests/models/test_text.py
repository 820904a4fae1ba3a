"""Text encoders of several families: random ones of a few thousand weights, with a tokenizer made on the fly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from edgerec.errors import ConfigError
from edgerec.examples.text_vectors import text_vectors
from edgerec.models.text import POOLINGS, LanguageModel
from edgerec.progress import Silent

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tea", "cup", "red", "oil", *"茶杯红油绿"]


def sizes(n):
    """Of a small encoder; by name, since transformers 5 takes no other."""
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    return {"vocab_size": n, "hidden_size": 16, "intermediate_size": 32, **layers}


FAMILIES = {
    "bert": lambda n: BertModel(BertConfig(**sizes(n), max_position_embeddings=12, initializer_range=0.2)),
    "roberta": lambda n: RobertaModel(RobertaConfig(**sizes(n), max_position_embeddings=13, pad_token_id=0)),
    "gpt2": lambda n: GPT2Model(GPT2Config(vocab_size=n, n_positions=12, n_embd=16, n_layer=2, n_head=2)),
    "t5": lambda n: T5Model(T5Config(vocab_size=n, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
}


def make_model(folder: Path, family: str = "bert", **saving: bool) -> str:
    """Write a random model; its words are English ones and single Chinese characters."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    by_character = pre_tokenizers.Split(Regex("[\u4e00-\u9fff]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), by_character])
    special = {"unk_token": "[UNK]"}
    if family == "gpt2":
        special["eos_token"] = "[SEP]"
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        special |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(0)
    FAMILIES[family](len(WORDS)).save_pretrained(folder, **saving)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special).save_pretrained(folder)
    return str(folder)


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_vector_does_not_depend_on_the_texts_beside_it_and_no_text_has_the_zero_vector(tmp_path, family):
    model = make_model(tmp_path / "model", family)
    texts = ["tea cup", "", "红茶杯", "red tea cup oil tea cup", "  ", "绿茶"]

    together = text_vectors(texts, model, tmp_path / "cache", Silent())
    alone = np.concatenate([text_vectors([t], model, tmp_path / "cache", Silent()) for t in texts])

    assert np.linalg.norm(together, axis=1) == pytest.approx([1, 0, 1, 1, 0, 1], abs=1e-5)
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.abs(together[2] - together[5]).max() > 0.01  # Chinese texts are told apart


def test_an_encoder_is_pooled_by_the_mean_a_decoder_by_later_tokens_more(tmp_path):
    encoder = LanguageModel.load(make_model(tmp_path / "bert"))
    decoder = LanguageModel.load(make_model(tmp_path / "gpt2", "gpt2"))

    assert (encoder.pooling, decoder.pooling) == (("mean_tokens",), ("weightedmean_tokens",))


def test_poolings_by_hand():
    states = torch.tensor([[[1.0], [4.0], [100.0]], [[3.0], [6.0], [9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])

    found = {name: pool(states, mask).squeeze(1).tolist() for name, pool in POOLINGS.items()}

    assert found == {
        "cls_token": [1, 3],
        "max_tokens": [4, 9],
        "mean_tokens": [2.5, 6],
        "mean_sqrt_len_tokens": pytest.approx([5 / 2**0.5, 18 / 3**0.5]),
        "weightedmean_tokens": [(1 + 2 * 4) / 3, (3 + 2 * 6 + 3 * 9) / 6],
        "lasttoken": [4, 9],
    }


def test_the_folder_of_a_sentence_transformer_says_how_it_is_pooled_and_how_much_is_read(tmp_path):
    folder = Path(make_model(tmp_path / "model"))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**pooling, "pooling_mode_mean_tokens": False}))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')

    encoder = LanguageModel.load(str(folder))

    assert (encoder.pooling, encoder.width, encoder.max_tokens) == (("cls_token", "max_tokens"), 32, 5)

    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_attention": true}')
    with pytest.raises(ConfigError, match=r"1_Pooling.config\.json: expected pooling_mode_NAME = true"):
        LanguageModel.load(str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_are_cut_at_what_the_model_reads_and_this_is_said_once(tmp_path, family):
    limit = 512 if family == "t5" else 12
    model, notes = make_model(tmp_path / "model", family), Notes()
    long = " ".join(["tea"] * 600)

    vectors = text_vectors([long, f"{long} oil", "tea"], model, tmp_path, notes)

    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)
    assert notes.lines == [f"2 item texts fill the model's {limit} tokens; what is beyond is not read"]


def test_pickled_weights_are_never_loaded(tmp_path):
    model = make_model(tmp_path / "model", safe_serialization=False)
    assert (tmp_path / "model" / "pytorch_model.bin").exists()

    with pytest.raises(ConfigError, match=r"has only pickled weights, which are never loaded; save it as safetensors$"):
        text_vectors(["tea"], model, tmp_path, Silent())


def test_a_model_with_code_of_its_own_is_refused_and_its_code_not_run(tmp_path):
    folder = Path(make_model(tmp_path / "model"))
    (folder / "own.py").write_text("raise SystemExit('was run')")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "own"}
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ConfigError, match="runs code of its own, which is never done"):
        text_vectors(["tea"], str(folder), tmp_path, Silent())


def test_a_model_that_is_nowhere_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match=r"\[teacher\] text_model: cannot load 'no/such'") as caught:
        text_vectors(["a"], "no/such", tmp_path, Silent())
    assert "\n" not in str(caught.value)


def test_other_weights_under_the_same_name_are_read_anew(tmp_path):
    model = make_model(tmp_path / "model")
    before = text_vectors(["tea cup"], model, tmp_path / "cache", Silent())
    encoder = BertModel.from_pretrained(model)
    torch.nn.init.normal_(encoder.embeddings.word_embeddings.weight)
    encoder.save_pretrained(model)

    assert np.abs(text_vectors(["tea cup"], model, tmp_path / "cache", Silent()) - before).max() > 0.01


@pytest.mark.slow
def test_a_hub_name_is_answered_from_the_local_cache_without_a_network(tmp_path):
    folder = Path(make_model(tmp_path / "model"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    cached = tmp_path / "hub" / "models--team--tiny"
    shutil.copytree(folder, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    code = """
from edgerec.models.text import LanguageModel
encoder = LanguageModel.load("team/tiny")
print(encoder.pooling, encoder.max_tokens)
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)

    assert (run.stdout, run.stderr) == ("('lasttoken',) 12\n", "")
