"""One trial in a process of its own, with what it cost; and the bundles that all trials use."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgerec.bundle import Bundle
from edgerec.bundle.delta import make_delta
from edgerec.bundle.manifest import MANIFEST, SIGNATURE, sha256_of
from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.files import dump_json
from edgerec.runtime import Recommender

LIMIT_S: Final = 60
"""Seconds after which a trial is ended, and counts as a crash."""
ADDRESSES: Final = 6 << 30
FILE: Final = 1 << 30
"""Bytes of memory and of one file that a trial may take: this machine must survive what is tried."""


@dataclass
class Outcome:
    """Of one trial, or of several.

    Attributes:
        lost: acknowledged events that are gone, or twice there, or erased events that are still there.
        accepted: forgeries, damaged bundles and impossible times that were taken for good.
        crashed: trials in which the process died or hung, raised what is not of ours, or did not recommend.
        mebibytes, seconds: the worst trial's.
        note: what happened, where something did.
    """

    lost: int = 0
    accepted: int = 0
    crashed: int = 0
    mebibytes: float = 0.0
    seconds: float = 0.0
    note: str = ""


def attempt(work: Callable[[], Outcome], lasts_s: int = 0) -> Outcome:
    """Run a trial in a child; whatever becomes of it is its outcome. `lasts_s`: what it takes where nothing happens."""
    read, write = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read)
        _end(write, work, LIMIT_S + lasts_s)
    os.close(write)
    with os.fdopen(read) as told:  # ends with the child, which is killed if it takes too long
        said = told.read()
    _, status, usage = os.wait4(child, 0)
    if said:
        outcome = Outcome(**json.loads(said))
    else:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
        outcome = Outcome(crashed=1, note=f"ended by {name}")
    outcome.seconds, outcome.mebibytes = time.monotonic() - start, usage.ru_maxrss / 1024
    return outcome


def _end(write: int, work: Callable[[], Outcome], limit_s: int) -> None:
    """In the child: run, tell, and exit without cleaning up what belongs to the parent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # SQLCipher tells of damage there
    signal.alarm(limit_s)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    try:
        outcome = work()
    except BaseException as error:
        where = Path(traceback.extract_tb(error.__traceback__)[-1].filename).name
        said = re.sub(r"/\S*/", "", str(error))[:150]  # paths differ from trial to trial
        outcome = Outcome(crashed=1, note=f"{type(error).__name__} at {where}: {said}")
    os.write(write, json.dumps(asdict(outcome)).encode())
    os._exit(0)


@dataclass(frozen=True)
class Kit:
    """Signed bundles made from one, in a folder.

    ``1``, ``2`` and ``3`` are versions; ``old`` limits the age of events; ``delta`` leads from 1 to 2; ``forged`` is
    version 1 with every file exchanged, under the signature of the true one; ``other`` is signed by another key.
    """

    folder: Path

    @property
    def key(self) -> Path:
        """The key that a device pins."""
        return self.folder / "k.pub"

    @cached_property
    def items(self) -> tuple[str, ...]:
        """Some ids of the catalogue."""
        with closing(sqlite3.connect(self.folder / "1" / "catalog.sqlite")) as db:
            return tuple(row[0] for row in db.execute("SELECT id FROM items ORDER BY idx LIMIT 50"))

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def open(self, folder: Path, store: Path | None = None, **how: Any) -> Recommender:
        """A device's recommender, whose updates are tried in this process: a fork has none of its own."""
        rec = Recommender.open(folder, store, self.key, engine=how.pop("engine", "numpy"), **how)
        if rec._device.updates is not None:
            rec._device.updates.python = None
        return rec


def make_kit(source: Path, folder: Path) -> Kit:
    """Make it from any bundle."""
    folder.mkdir(parents=True)
    for name in ("k", "k2"):
        make_keys(folder / name, folder / f"{name}.pub")
    Bundle.open(source)
    log = {"rows": 100_000, "bytes": 64_000_000}
    for name, version, policy in (("1", 1, {"log": log}), ("2", 2, {"log": log, "pool": 199}),
                                  ("3", 3, {"log": log, "pool": 198}), ("old", 1, {"log": log | {"days": 400}}),
                                  ("small", 1, {"log": {"bytes": 1 << 18}}), ("other", 4, {"log": log})):  # fmt: skip
        shutil.copytree(source, folder / name)
        given = json.loads((source / "policy.json").read_bytes())
        (folder / name / "policy.json").write_bytes(dump_json({**given, **policy}))
        rehash(folder / name, version=version)
        (folder / name / SIGNATURE).unlink(missing_ok=True)
        sign_bundle(folder / name, folder / ("k2" if name == "other" else "k"))
    make_delta(folder / "1", folder / "2", folder / "delta")
    shutil.copytree(folder / "1", folder / "forged")
    _forge(folder / "forged")
    return Kit(folder)


def rehash(folder: Path, **changes: Any) -> None:
    """Write a manifest for the files as they are, as one who may write it would."""
    manifest = json.loads((folder / MANIFEST).read_bytes()) | changes
    for name in manifest["files"]:
        manifest["files"][name] = {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
    (folder / MANIFEST).write_bytes(dump_json(manifest))


def _forge(folder: Path) -> None:
    """Exchange every file by one that loads and answers otherwise."""
    weights = np.fromfile(folder / "weights.bin", np.uint8)
    (folder / "weights.bin").write_bytes((weights ^ np.uint8(0x80)).tobytes()[3:] + weights.tobytes()[:3])
    for path in folder.glob("*.onnx"):
        content = path.read_bytes()
        for op, other in ((b"\x22\x03Mul", b"\x22\x03Sub"), (b"\x22\x03Add", b"\x22\x03Sub")):
            content = content.replace(op, other, 1)
        path.write_bytes(content)
    policy = json.loads((folder / "policy.json").read_bytes())
    policy["rules"] = [{"name": "nothing", "keep": "title = 'no title is this'"}]
    (folder / "policy.json").write_bytes(dump_json(policy))
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as db:
        db.execute("UPDATE items SET title = 'forged'")
        db.commit()
    rehash(folder)


def stored(path: Path, profile: str) -> list[str]:
    """The event ids of a profile in a store that nobody has open, in order; those that are twice there as well."""
    with closing(sqlite3.connect(path)) as db:
        sql = "SELECT event_id FROM events WHERE profile = ? ORDER BY id"
        return [row[0] for row in db.execute(sql, (profile,))]


def missing(acknowledged: Iterable[str], kept: list[str]) -> int:
    """Acknowledged events that are gone, and events that are there more than once."""
    return len(set(acknowledged) - set(kept)) + len(kept) - len(set(kept))


def still_works(kit: Kit, folder: Path, store: Path, **how: Any) -> Recommender:
    """Open a device's recommender after something happened, and use all of it.

    Raises:
        AssertionError: it does not recommend. EdgerecError: it does not open.
    """
    rec = kit.open(folder, store, **how)
    assert len(rec.recommend(3)) == 3, "does not recommend"
    rec.observe(kit.items[0], event_id="after")
    rec.profile("nobody").forget()
    return rec
