"""How many of a bundle's lists are the same by onnxruntime, numpy, HTTP, Node and Chromium, and milliseconds of each.

Where the native engine is built (tools/native), its lists are compared too, and the bits of all that it computes for
the bundle's conformance requests: by every kernel of this machine, with subnormals flushed, on other processors under
qemu where that is installed, and in Node.

Two items whose utilities differ by less than a ten-thousandth of the first one's may change places: engines add up
float32 numbers in another order, and a task vector that lies between two INT8 steps may fall to either. They are
counted as ties. The table is also written beside the run's report, whose page shows it. Exits with 1 if lists differ.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from fastapi.testclient import TestClient

from edgerec.bundle import Bundle
from edgerec.bundle.columns_file import COLUMNS
from edgerec.bundle.size import STUDENT
from edgerec.config import Config
from edgerec.evaluation.page import RUNTIMES, redraw
from edgerec.evaluation.report import settings_of
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import Events, Recommender
from edgerec.runtime.native import FOLDER, NativeEngine, library_name
from edgerec.serve.app import create_app
from tools.benchmarks.shared import javascript
from tools.benchmarks.shared.command import FinishedRun, Parser, add_json, add_run, print_rows
from tools.native_probe import Request as Inputs
from tools.native_probe import answers, elsewhere, in_node

DURATION = "1 minute"
K = 20
CONFORMED = 200
"""Most conformance requests that other processors answer."""
TIE = 1e-4
Request: TypeAlias = dict[str, Any]
"""Arguments of `Recommender.recommend`, with the past by ids."""
Ranked: TypeAlias = list[tuple[str, float]]
"""Items with their utilities, best first."""


@dataclass(frozen=True)
class Answers:
    """Of one runtime."""

    lists: list[Ranked]
    ms: float
    """A request."""

    @classmethod
    def timed(cls, answer: Callable[[], list[Ranked]]) -> Answers:
        """What `answer` gives, and how long it takes."""
        start = time.perf_counter()
        lists = answer()
        return cls(lists, (time.perf_counter() - start) / len(lists) * 1e3)


def requests_of(run: Path, recommender: Recommender, count: int) -> Iterator[Request]:
    """Real requests of a run's evaluation split."""
    data = FinishedRun.load(run, Silent()).data
    model = RuntimeModel(recommender.arrays, data, find_evaluation_requests(data), Silent())
    for request in islice(model.requests(), count):
        past = request["history"]
        ids = [recommender.arrays.named(int(item))[0] for item in past.item]
        yield request | {"history": Events(ids, past.kind, past.time_ms)}


def by_python(recommender: Recommender, requests: list[Request]) -> list[Ranked]:
    """The lists that a recommender gives."""
    return [[(r.item, r.utility) for r in recommender.recommend(K, **request)] for request in requests]


def by_javascript(bundle: Path, recommender: Recommender, requests: list[Request], engine: str) -> list[Ranked]:
    """The lists that JavaScript gives, start included; `engine`: wasm, scalar, onnxruntime-node, or chromium (wasm)."""
    calls = [["recommend", K, {**as_json(recommender, request), "now": request["now"]}] for request in requests]
    place = {"folder": str(bundle.absolute()), "chromium": javascript.chromium()}
    answers = javascript.run_script("run.mjs", {**place, "engine": engine, "calls": [["open"], *calls]})
    return [[(r["item"], r["utility"]) for r in answer["items"]] for answer in answers[1:]]


def as_json(recommender: Recommender, request: Request) -> dict[str, object]:
    """Past, context and user as the other runtimes take them."""
    past, kinds = request["history"], recommender.encoder.binary
    events = [
        {"item": item, "kind": "+".join(n for b, n in enumerate(kinds) if kind >> b & 1) or "event", "time": time_ms}
        for item, kind, time_ms in zip(past.item, past.kind.tolist(), past.time_ms.tolist(), strict=True)
    ]
    inputs = {key: {name: _plain(value) for name, value in request[key].items()} for key in ("context", "user")}
    return {"history": events, **inputs}


def _plain(value: object) -> object:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def by_http(client: TestClient, recommender: Recommender, requests: list[Request]) -> list[Ranked]:
    """The lists that the service gives."""
    lists = []
    for request in requests:
        body = {"k": K, "now": request["now"], **as_json(recommender, request)}
        answer = client.post("/recommend", json=body).raise_for_status().json()
        lists.append([(item["item"], item["utility"]) for item in answer["items"]])
    return lists


def difference(expected: Ranked, ranked: Ranked) -> Literal["same", "tie", "other"]:
    """ "tie" where only items of equal utility changed places, "other" where more did."""
    if [item for item, _ in expected] == [item for item, _ in ranked]:
        return "same"
    span = TIE * abs(expected[0][1])
    close = len(expected) == len(ranked) and all(
        i == j or abs(u - v) <= span for (i, u), (j, v) in zip(expected, ranked, strict=True)
    )
    return "tie" if close else "other"


def answers_of(run: Path, count: int) -> dict[str, Answers]:
    """Lists for `count` requests of a run, by every runtime that is installed."""
    bundle = run / "bundle"
    with (
        Recommender.of(bundle, "onnxruntime") as ort,
        Recommender.of(bundle, "numpy") as plain,
        TestClient(create_app(lambda: Recommender.of(bundle)), "http://127.0.0.1") as client,
    ):
        requests = list(requests_of(run, ort, count))
        runtimes = {
            "onnxruntime": partial(by_python, ort, requests),
            "numpy": partial(by_python, plain, requests),
            "serve": partial(by_http, client, ort, requests),
        }
        if native_is_built():
            opened = Recommender.of(bundle, "native")
            runtimes["native"] = partial(by_python, opened, requests)
        if (bundle / COLUMNS).exists() and javascript.installed():
            engines = {"node-onnxruntime": "onnxruntime-node"}
            if (bundle / STUDENT).exists() and javascript.engine_built():
                engines |= {"node": "wasm", "node-scalar": "scalar"}
                engines |= {"chromium": "chromium"} if javascript.chromium() else {}
            for name, engine in engines.items():
                runtimes[name] = partial(by_javascript, bundle, ort, requests, engine)
        return {name: Answers.timed(answer) for name, answer in runtimes.items()}


def native_is_built() -> bool:
    """Whether the native engine has a library for this machine."""
    return (FOLDER / library_name()).exists()


def same_bits(folder: Path, count: int) -> list[dict[str, str | float]]:
    """A row for each kernel and processor: all outputs of the native engine for conformance requests of a bundle."""
    bundle = Bundle.open(folder)
    student, engine = bundle.read(STUDENT), NativeEngine.of(bundle)
    asked = [r["inputs"] for r in bundle.json("conformance.json")["requests"] if "graph" not in r]
    rows: list[dict[str, str | float]] = []

    def add(name: str, found: bytes | None, requests: list[Inputs]) -> None:
        if found is None:
            print(f"{name} is not installed and left out", file=sys.stderr)
            return
        same = len(requests) * (found == answers(engine, requests))
        rows.append({"runtime": f"native, {name}", "requests": len(requests), "same lists": same, "ties": 0,
                     "other lists": len(requests) - same, "same bits": "yes" if same else "no"})  # fmt: skip

    with tempfile.TemporaryDirectory() as work:
        for name, found in elsewhere(Path(work), engine, student, asked[:count]):
            add(name, found, asked[:count])
        for build in ("wasm-simd", "wasm") if shutil.which("node") else ():
            files = Path(work) / "conformance.json"
            files.write_text(json.dumps({"requests": [{"inputs": inputs} for inputs in asked[:count]]}))
            add(f"Node, {build}", in_node(Path(work), build, bundle.path(STUDENT), files), asked[:count])
    return rows


def compare(run: Path, count: int) -> list[dict[str, str | float]]:
    """Figures by runtime, compared with onnxruntime."""
    answers = answers_of(run, count)
    expected = answers["onnxruntime"].lists
    rows: list[dict[str, str | float]] = []
    for name, answer in answers.items():
        differences = [difference(a, b) for a, b in zip(expected, answer.lists, strict=True)]
        rows.append({
            "runtime": name, "requests": len(answer.lists), "same lists": differences.count("same"),
            "ties": differences.count("tie"), "other lists": differences.count("other"), "ms": answer.ms,
        })  # fmt: skip
    if native_is_built() and find_spec("ziglang"):
        rows += same_bits(run / "bundle", min(count, CONFORMED))
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print a row for each runtime, and leave the rows beside the run's report."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    parser.add_argument("--count", type=int, default=1000, help="requests (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args(arguments)
    rows = compare(options.run, options.count)
    report = options.run / "report"
    record = {"settings": settings_of(Config.load(options.run / "edgerec.toml")), "ways": rows}
    # Not sorted: the page shows the columns in this order.
    (report / RUNTIMES).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    redraw(report)
    print_rows(rows, options.json)
    return int(any(row["other lists"] for row in rows))
