"""The readers: each takes bytes, and may raise nothing but an error of ours, which is one line.

`TARGETS` names them; `seeds` gives each the few valid inputs from which a fuzzer starts, and `FOUND` holds those that
were once answered wrongly.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np

from edgerec.bundle.catalog import Catalog
from edgerec.bundle.conditions import Condition
from edgerec.bundle.delta import DELTA, NEW_MANIFEST, apply_delta, make_delta
from edgerec.bundle.difference import make_patch
from edgerec.bundle.manifest import Manifest
from edgerec.bundle.patch import apply_patch
from edgerec.bundle.policy import Policy
from edgerec.bundle.read import Bundle
from edgerec.bundle.sign import make_keys, sign_bundle, signers
from edgerec.errors import EdgerecError
from edgerec.runtime import Events, Recommender
from edgerec.runtime.onnx_file import read_graph
from edgerec.runtime.store import EventStore
from edgerec.runtime.updates import STATE, Updates
from tests import toy

FOUND: Final = Path(__file__).parent / "found"
"""NAME/HASH: inputs that a target once answered wrongly."""
OLD: Final = bytes(range(256)) * 4
"""The old file of patches."""
MOST: Final = 4096
"""Bytes of the new one."""


def check(name: str, content: bytes) -> None:
    """Run a target.

    Raises:
        Exception: what the reader raised, if it is not an error of ours.
        AssertionError: its message has more than one line.
    """
    try:
        TARGETS[name](content)
    except EdgerecError as error:
        assert "\n" not in str(error), f"more than one line: {error}"


def manifest(content: bytes) -> None:
    """manifest.json."""
    Manifest.parse(content.decode("utf-8", "surrogateescape"))


def policy(content: bytes) -> None:
    """policy.json, and each condition of it for all items."""
    with _catalog() as catalog, suppress(ValueError, RecursionError):  # as `Bundle.json` does
        value = json.loads(content)
        read = Policy.parse(value, catalog, [t.name for t in toy.TASKS], ["click", "like"])
        for condition in (*(r.keep for r in read.rules), *(b.where for b in read.boosts)):
            condition.failing(catalog, {})


def condition(content: bytes) -> None:
    """An app's condition, met and not by any item."""
    with _catalog() as catalog:
        read = Condition.parse(content.decode("utf-8", "surrogateescape"), catalog)
        for value in (None, True, -1, 2.5, "", "red"):
            assert len(read.failing(catalog, dict.fromkeys(read.parameters, value))) <= len(catalog)


def catalogue(content: bytes) -> None:
    """catalog.sqlite, and all of its columns."""
    with closing(Catalog(Path("catalog.sqlite"), content)) as catalog:
        if len(catalog) > 1 << 16:
            return  # the manifest says how many there are, and is compared
        for index in range(min(len(catalog), 9)):
            catalog.named(index)
            catalog.attributes(index)
        for name in catalog.columns:
            catalog.column(name)
        catalog.unavailable()


def graph(content: bytes) -> None:
    """A graph, whose constants point into weights.bin."""
    read_graph(content, bytes(range(256)), "recommend.onnx")


def signature(content: bytes) -> None:
    """manifest.sig."""
    _file("manifest.json", b"{}")
    signers(_file("manifest.sig", content).parent)


def patch(content: bytes) -> None:
    """A file of a delta, as it comes and with its checksum mended."""
    assert len(apply_patch(OLD, zlib.compress(content), MOST)) == MOST


def compressed_patch(content: bytes) -> None:
    """The same, compressed by whoever wrote it."""
    assert len(apply_patch(OLD, content, MOST)) == MOST


def delta(content: bytes) -> None:
    """delta.json, in front of a delta that is whole."""
    _apply_with(DELTA, content)


def delta_manifest(content: bytes) -> None:
    """manifest.new of a delta."""
    _apply_with(NEW_MANIFEST, content)


def _apply_with(name: str, content: bytes) -> None:
    home = _delta()
    (home / "delta" / name).write_bytes(content)
    out = home / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    apply_delta(Bundle.open(home / "bundle"), home / "delta", out)


def state(content: bytes) -> None:
    """state.json of a device's updates: whatever it says, a bundle is opened."""
    home = _delta()
    _file(f"updates/{STATE}", content)
    opened = Updates(home / "bundle", _scratch() / "updates", python=None).open(lambda bundle: bundle)
    assert opened.folder == home / "bundle"


def store(content: bytes) -> None:
    """The file of a device's events."""
    for end in ("-wal", "-shm", ".damaged"):
        (_scratch() / f"s.sqlite{end}").unlink(missing_ok=True)
    with closing(EventStore(_file("s.sqlite", content))) as events:
        for name in (*events.profiles()[:3], ""):
            events.events.read(("click", "like"), name)
            events.lists.read(name)
            events.learned.get("x", name)
        events.events.append("i1", "click", toy.NOW_MS, {"tab": "home"})
        events.forget()
        assert events.size()["events"] == 0


def history(content: bytes) -> None:
    """What an app says of its user: JSON of events, time and context."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(said, dict):
        return
    rec, arguments = _recommender(), {key: said[key] for key in ("context", "user", "now", "weights") if key in said}
    rows = [row for row in _list(said.get("history")) if isinstance(row, list) and len(row) == 3]
    with suppress(TypeError, ValueError, OverflowError):  # numpy's own, before edgerec sees it
        item, kind, time = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        arguments["history"] = Events(item, np.array(kind, np.int64), np.array(time, np.int64))
    for result in rec.recommend(3, **arguments):
        assert np.isfinite(result.utility)
    for event in _list(said.get("observed"))[:9]:
        if isinstance(event, dict) and set(event) <= {"item", "kind", "time", "context", "event_id", "list_name"}:
            rec.observe(**{"item": "i1", **event})
    rec.recommend(3)
    rec.forget()


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (manifest, policy, condition, catalogue, graph, signature, patch, compressed_patch, delta,
                   delta_manifest, state, store, history)
}  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """Valid inputs, and those that were once answered wrongly."""
    yield from _SEEDS[name]()
    if (FOUND / name).is_dir():
        yield from (path.read_bytes() for path in sorted((FOUND / name).iterdir()))


def _conditions() -> Iterator[bytes]:
    texts = ["price < 3 AND colour = 'red'", "NOT (price BETWEEN :a AND 2.5e1) OR colour IN ('red', 'blue')",
             'lower("title") LIKE \'%m_\' AND coalesce(colour, \'x\') IS NOT NULL',
             "-abs(price) * 2 / length(title) >= :b + 1", "TRUE <> FALSE OR NULL IS NULL"]  # fmt: skip
    yield from (text.encode() for text in texts)


def _policies() -> Iterator[bytes]:
    whole: dict[str, Any] = {
        "weights": {"next": 1.0}, "rules": [{"name": "a", "keep": "price < 3 OR :age >= 18"}], "pool": 200,
        "boosts": [{"name": "b", "where": "colour = 'red'", "factor": 1.2}], "seen": [{"kind": "like", "days": 30}],
        "caps": [{"shown": 3, "hours": 24}], "quotas": [{"by": "colour", "most": 2}], "diversity": 0.2,
        "calibration": {"by": "colour", "strength": 0.3}, "log": {"rows": 100, "bytes": 300000, "days": 4},
        "explore": {"method": "linucb", "slots": 2}, "adapt": {"rate": 0.1}, "where": "price > 0",
    }  # fmt: skip
    yield from (json.dumps({key: value}).encode() for key, value in whole.items())
    yield json.dumps(whole).encode()


def _histories() -> Iterator[bytes]:
    event = {"item": "i3", "kind": "click+like", "time": toy.NOW_MS, "context": {"tab": "home"}, "event_id": "7"}
    yield json.dumps({"history": [["i5", 1, toy.NOW_MS], ["i1", 0, 5]], "now": toy.NOW_MS, "weights": {"next": 2.0}})\
        .encode()  # fmt: skip
    yield json.dumps({"context": {"tab": "home"}, "user": {"age": 40, "country": "DE"}, "observed": [event]}).encode()


def _stores() -> Iterator[bytes]:
    path = _scratch() / "seed.sqlite"
    with closing(EventStore(path)) as events:
        for number in range(3):
            events.events.append(
                f"i{number}", "click", toy.NOW_MS, {"tab": "home"}, profile="anna", event_id=str(number)
            )
        events.learned.put("x", b"value")
    yield path.read_bytes()
    path.unlink()


_SEEDS: Final[Mapping[str, Callable[[], Iterator[bytes]]]] = {
    "manifest": lambda: iter([(_delta() / "bundle" / "manifest.json").read_bytes()]),
    "policy": _policies,
    "condition": _conditions,
    "catalogue": lambda: iter([(_delta() / "bundle" / "catalog.sqlite").read_bytes()]),
    "graph": lambda: ((_delta() / "bundle" / f"{name}.onnx").read_bytes() for name in ("recommend", "vectors")),
    "signature": lambda: iter([(_delta() / "bundle" / "manifest.sig").read_bytes()]),
    "patch": lambda: iter([zlib.decompress(make_patch(OLD, OLD[99:] + b"new" + OLD))]),
    "compressed_patch": lambda: iter([make_patch(OLD, OLD[:999] + b"new")]),
    "delta": lambda: iter([(_delta() / "delta" / DELTA).read_bytes()]),
    "delta_manifest": lambda: iter([(_delta() / "delta" / NEW_MANIFEST).read_bytes()]),
    "state": lambda: iter([b'{"current": "0f", "previous": null, "confirmed": false, "starts": 1, "bad": ["0e"]}']),
    "store": _stores,
    "history": _histories,
}


# --- what the targets share, made once ---


@cache
def _scratch() -> Path:
    memory = Path("/dev/shm")  # a store flushes each event to the disk
    return Path(mkdtemp(prefix="edgerec-fuzz-", dir=memory if memory.is_dir() else None))


def _file(name: str, content: bytes) -> Path:
    path = _scratch() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _catalog() -> Any:
    return closing(Catalog(_delta() / "bundle" / "catalog.sqlite"))


@cache
def _recommender() -> Recommender:
    return Recommender.of(_delta() / "bundle", "numpy")


@cache
def _delta() -> Path:
    """A folder with a signed bundle and a delta to its next version; targets exchange single files of the delta."""
    home = _scratch() / "bundles"
    (home / "new").mkdir(parents=True)
    make_keys(home / "k", home / "k.pub")
    sign_bundle(toy.write(home), home / "k")
    make_delta(home / "bundle", toy.write(home / "new", 9, version=2), home / "delta")
    return home


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
