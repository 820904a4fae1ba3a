"""What others published on these sets, and what is asked of ours."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A model's figures: recall and NDCG at the protocol's list length, None where they were not published."""

    model: str
    recall: float | None
    ndcg: float | None
    source: str


_S3 = "README of aHuiWang/CIKM2020-S3Rec"
_BENCHMARK = "README of blondered/transformer_benchmark"
_BERT = "README of antklen/sasrec-bert4rec-recsys23, the same file"
_BARS = "BARS leaderboard, gowalla_m1"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "beauty": (
        Published("SASRec", 0.0605, 0.0318, _S3),
        Published("S3-Rec", 0.0647, 0.0327, _S3),
        Published("TIGER (semantic IDs)", 0.0648, 0.0384, f"{_BENCHMARK}, as reported"),
        Published("ActionPiece (semantic IDs)", 0.0775, 0.0424, f"{_BENCHMARK}, as reported"),
        Published("HSTU", 0.0788, 0.0439, _BENCHMARK),
        Published("FuXi-α", 0.0809, 0.0451, _BENCHMARK),
        Published("DuoRec", 0.0845, 0.0443, f"{_BENCHMARK}, as reported"),
        Published("SASRec with sampled softmax", 0.0921, 0.0531, _BENCHMARK),
        Published("OneRec-Foundation (Qwen3, an LLM)", 0.0924, None, "README of Kuaishou-OneRec/OpenOneRec"),
        Published("eSASRec", 0.0928, 0.0523, _BENCHMARK),
    ),
    "sports": (
        Published("TIGER (semantic IDs)", 0.0400, 0.0225, f"{_BENCHMARK}, as reported"),
        Published("ActionPiece (semantic IDs)", 0.0500, 0.0264, f"{_BENCHMARK}, as reported"),
        Published("HSTU", 0.0437, 0.0243, _BENCHMARK),
        Published("eSASRec", 0.0560, 0.0323, _BENCHMARK),
        Published("SASRec with sampled softmax", 0.0569, 0.0314, _BENCHMARK),
    ),
    "toys": (
        Published("TIGER (semantic IDs)", 0.0712, 0.0432, f"{_BENCHMARK}, as reported"),
        Published("HSTU", 0.0778, 0.0450, _BENCHMARK),
        Published("eSASRec", 0.0939, 0.0538, _BENCHMARK),
        Published("SASRec with sampled softmax", 0.0970, 0.0580, _BENCHMARK),
    ),
    "ml1m": (
        Published("SASRec", 0.2500, 0.1341, _BERT),
        Published("BERT4Rec", 0.2843, 0.1537, _BERT),
        Published("gSASRec", 0.3003, 0.1726, "README of asash/gSASRec-pytorch, the same file"),
        Published("HSTU", 0.3037, 0.1719, f"{_BENCHMARK}, own preparation"),
        Published("eSASRec", 0.3133, 0.1772, f"{_BENCHMARK}, own preparation"),
        Published("SASRec with full cross-entropy", 0.3152, 0.1821, _BERT),
        Published("SASRec with 3,000 negatives", 0.3159, 0.1857, _BERT),
        Published("FuXi-α", 0.3164, 0.1813, f"{_BENCHMARK}, own preparation"),
    ),
    "gowalla": (
        Published("EASE", 0.1765, 0.1467, _BARS),
        Published("LightGCN", 0.1820, 0.1547, _BARS),
        Published("GF-CF", 0.1849, 0.1518, _BARS),
        Published("UltraGCN", 0.1862, 0.1580, _BARS),
        Published("SimpleX", 0.1872, 0.1557, _BARS),
    ),
    "tafeng": (Published("TIFU-kNN", 0.1301, None, "HaojiHu/TIFUKNN, another preparation"),),
}
