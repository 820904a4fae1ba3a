"""Forgeries: signatures, manifests, deltas and states of one who has no key; and files exchanged while a device opens.

A device that pins a key must refuse them, before it has spent memory, disk or time on them; or answer as the true
bundle does, if a file was exchanged after it was read.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from edgerec.bundle.manifest import MANIFEST, SIGNATURE, Manifest
from edgerec.errors import BundleError
from edgerec.files import dump_json
from edgerec.runtime import Recommender
from tools.benchmarks.injected.library import Injector
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, rehash

SWAPPED = ("weights.bin", "recommend.onnx", "score.onnx", "similar.onnx", "vectors.onnx", "catalog.sqlite",
           "policy.json", "conformance.json")  # fmt: skip
HUGE = 900 << 20


def answers(kit: Kit, rec: Recommender) -> list[Any]:
    """All that a forger would want to change."""
    said: list[Any] = [(r.item, r.title, round(r.utility, 4)) for r in rec.recommend(5)]
    said += [round(r.utility, 4) for r in rec.score(kit.items[:3])]
    if "similar.onnx" in rec.bundle.manifest.files:
        said += [(r.item, round(r.utility, 4)) for r in rec.similar(kit.items[0], 3)]
    said += [r.item for r in rec.recommend(5, diversity=0.5)]
    return said


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Each forgery once, and files exchanged at each opening of a file; half of each where `count` is too few."""
    choose = random.Random(seed)
    with kit.open(kit["1"]) as rec:
        true = answers(kit, rec)
    made = [partial(forge, kit) for forge in (*_bundles(), *_updates(), *_states(), _truncated)]
    names = [name for name in (*SWAPPED, MANIFEST) if (kit["1"] / name).exists()]
    opens = range(1, _opens(kit, folder / "dry") + 1)
    swaps = [partial(_swapped, kit, true, name, at) for name in names for at in opens]
    choose.shuffle(made)
    choose.shuffle(swaps)
    made = made[: max(count // 2, 1)]
    more = count - len(made)
    for number, trial in enumerate([*made, *(swaps * (more // len(swaps) + 1))[:more]]):
        device = folder / str(number)
        device.mkdir()
        yield attempt(partial(trial, device))
        shutil.rmtree(device)


# --- bundles ---


def _refused(kit: Kit, bundle: Path, what: str) -> Outcome:
    try:
        with kit.open(bundle) as rec:
            rec.recommend(3)
    except BundleError as error:
        assert "\n" not in str(error), "more than one line"
        return Outcome()
    return Outcome(accepted=1, note=f"accepted: {what}")


def _bundles() -> Iterator[Callable[[Kit, Path], Outcome]]:
    """Version 1 with another signature, or another manifest."""
    for what in SIGNATURES:
        yield partial(_signed, what)
    for name in ("name", "version", "n_items", "device", "settings", "tensors", "tasks", "created"):
        yield partial(_manifest, name)


def _signature(kit: Kit, bundle: Path, what: str) -> bytes:
    """A signature file that is none of the pinned key's for this manifest."""
    true = json.loads((bundle / SIGNATURE).read_bytes())
    ((key, value),) = true["signatures"].items()
    other_key, other = next(iter(json.loads((kit["other"] / SIGNATURE).read_bytes())["signatures"].items()))
    other_version = json.loads((kit["2"] / SIGNATURE).read_bytes())["signatures"][key]
    raw = base64.b64decode(value)
    odd = raw[:32] + (int.from_bytes(raw[32:], "little") + _ORDER).to_bytes(32, "little")
    made: dict[str, Any] = {
        "another key's": {other_key: other}, "another key's under the pinned one": {key: other},
        "another version's": {key: other_version}, "empty": {}, "zeros": {key: _b64(bytes(64))},
        "short": {key: _b64(raw[:63])}, "long": {key: _b64(raw + b"\0")}, "a number": {key: 1}, "nothing": {key: None},
        "a list": [key, value], "not reduced": {key: _b64(odd)}, "halves": {key: _b64(raw[32:] + raw[:32])},
        "a key of zeros": {_b64(bytes(32)): _b64(bytes(64))}, "text": "yes",
    }  # fmt: skip
    if what == "no JSON":
        return b"{"
    if what == "twice":
        return b'{"format": 1, "signatures": {"%s": "%s"}, "signatures": {}}' % (key.encode(), other.encode())
    return dump_json({"format": 1, "signatures": made[what]})


SIGNATURES = ("another key's", "another key's under the pinned one", "another version's", "empty", "zeros", "short",
              "long", "a number", "nothing", "a list", "not reduced", "halves", "a key of zeros", "text", "no JSON",
              "twice")  # fmt: skip
_ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group: a signature whose second half is larger is another string for the same signature."""


def _signed(what: str, kit: Kit, device: Path) -> Outcome:
    bundle = shutil.copytree(kit["1"], device / "bundle")
    (bundle / SIGNATURE).write_bytes(_signature(kit, bundle, what))
    return _refused(kit, bundle, f"a signature that is {what}")


def _manifest(name: str, kit: Kit, device: Path) -> Outcome:
    bundle = shutil.copytree(kit["1"], device / "bundle")
    value = json.loads((bundle / MANIFEST).read_bytes())[name]
    other = {"x": 1} | value if isinstance(value, dict) else [*value, *value[:1]] if isinstance(value, list) else value
    rehash(bundle, **{name: other * 2 if isinstance(other, int | str) else other})
    return _refused(kit, bundle, f"a manifest with another {name}")


# --- updates ---


def _updates() -> Iterator[Callable[[Kit, Path], Outcome]]:
    """What an updater without a key may bring."""
    for name in ("1", "other", "forged"):
        yield partial(_update, f"bundle {name}", partial(_whole, name))
    for name in (MANIFEST, "policy.json", "weights.bin"):
        yield partial(_update, f"version 2 with a changed {name}", partial(_changed, name))
    yield partial(_update, "a delta that unpacks to much", _bomb)
    yield partial(_update, "a bundle of holes", _sparse)
    yield partial(_update, "a manifest of 60 MB", _long)
    for name in ("delta.json", "manifest.new", SIGNATURE, "policy.json.patch"):
        for byte in (0, 40, -30):
            yield partial(_update, f"a delta with a changed {name}", partial(_delta, name, byte))


def _update(what: str, make: Callable[[Kit, Path], object], kit: Kit, device: Path) -> Outcome:
    shutil.copytree(kit["1"], device / "bundle")
    make(kit, device / "update")
    with kit.open(device / "bundle") as rec:
        before = rec.bundle.manifest
        try:
            rec.update(device / "update")
        except BundleError as error:
            assert "\n" not in str(error), "more than one line"
        # A delta whose header was changed may still make the very bundle that was signed.
        taken = rec.bundle.manifest not in (before, Manifest.read(kit["2"]))
        written = sum(p.stat().st_blocks * 512 for p in (device / "bundle.updates").rglob("*") if p.is_file())
        assert len(rec.recommend(3)) == 3, "does not recommend"
    if written > 64 << 20:
        return Outcome(accepted=1, note=f"{what}: {written >> 20} MiB were written")
    return Outcome(accepted=int(taken), note=f"accepted: {what}" if taken else "")


def _whole(name: str, kit: Kit, out: Path) -> None:
    _copy(kit[name], out)


def _copy(source: Path, out: Path) -> Path:
    return Path(shutil.copytree(source, out))


def _changed(name: str, kit: Kit, out: Path) -> None:
    path = _copy(kit["2"], out) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if name != MANIFEST:
        rehash(out)


def _delta(name: str, byte: int, kit: Kit, out: Path) -> None:
    path = _copy(kit["delta"], out) / name
    content = bytearray(path.read_bytes())
    content[byte % len(content)] ^= 1
    path.write_bytes(content)


def _bomb(kit: Kit, out: Path) -> None:
    """A delta whose unsigned manifest claims 900 MB, and a patch of less than 1 MB that unpacks to it."""
    _copy(kit["delta"], out)
    manifest = json.loads((out / "manifest.new").read_bytes())
    manifest["files"]["policy.json"]["bytes"] = HUGE
    (out / "manifest.new").write_bytes(dump_json(manifest))
    pack = zlib.compressobj(9)
    part = bytes(1 << 20)
    content = pack.compress(b"\0" + _number(HUGE))
    for _ in range(HUGE >> 20):
        content += pack.compress(part)
    (out / "policy.json.patch").write_bytes(content + pack.flush())


def _sparse(kit: Kit, out: Path) -> None:
    """A bundle of few bytes on the disk, whose unsigned manifest lists a file of 900 MB."""
    _copy(kit["2"], out)
    with (out / "weights.bin").open("r+b") as file:
        file.truncate(HUGE)
    manifest = json.loads((out / MANIFEST).read_bytes())
    manifest["files"]["weights.bin"]["bytes"] = HUGE
    (out / MANIFEST).write_bytes(dump_json(manifest))


def _long(kit: Kit, out: Path) -> None:
    """A manifest of 60 MB, which takes much more once it is parsed."""
    _copy(kit["2"], out)
    manifest = json.loads((out / MANIFEST).read_bytes())
    manifest["settings"] = None
    before, after = json.dumps(manifest).split('"settings": null')
    with (out / MANIFEST).open("w") as file:  # part by part: the trial's memory is the device's
        file.write(f'{before}"settings": [')
        for _ in range(20):
            file.write("[]," * (1 << 20))
        file.write(f"[]]{after}")


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


# --- states ---


def _states() -> Iterator[Callable[[Kit, Path], Outcome]]:
    """What another program may write beside the bundle."""
    named: tuple[object, ...] = ("../forged", "forged", "/etc", "", ".", "..", "a/b", 0, [], "0" * 300)
    for current in named:
        yield partial(_state, current)


def _state(current: object, kit: Kit, device: Path) -> Outcome:
    shutil.copytree(kit["1"], device / "bundle")
    for place in ("forged", "bundle.updates/forged"):
        shutil.copytree(kit["forged"], device / place)
    state = {"current": current, "previous": None, "confirmed": True, "starts": 0, "bad": []}
    (device / "bundle.updates" / "state.json").write_bytes(dump_json(state))
    with kit.open(device / "bundle") as rec:
        taken = rec.bundle.folder != device / "bundle"
        assert len(rec.recommend(3)) == 3, "does not recommend"
    return Outcome(accepted=int(taken), note=f"accepted: a state that names {current!r}" if taken else "")


# --- time of check, time of use ---


def _opens(kit: Kit, device: Path) -> int:
    """How many files a device opens."""
    device.mkdir()
    shutil.copytree(kit["1"], device / "bundle")
    injector = Injector(device)
    with injector.swap(1 << 40, device, device), kit.open(device / "bundle") as rec:
        answers(kit, rec)
        return injector.opens


def _swapped(kit: Kit, true: list[Any], name: str, at: int, device: Path) -> Outcome:
    """Exchange one file by a forged one; or begin with forged ones and exchange the manifest by the true one."""
    start = "forged" if name == MANIFEST else "1"
    shutil.copytree(kit[start], device / "bundle")
    fresh = device / "fresh"
    shutil.copyfile(kit["1" if name == MANIFEST else "forged"] / name, fresh)
    try:
        with Injector(device / "bundle").swap(at, fresh, device / "bundle" / name), kit.open(device / "bundle") as rec:
            said = answers(kit, rec)
    except BundleError as error:
        assert "\n" not in str(error), "more than one line"
        return Outcome()
    return Outcome(accepted=int(said != true), note=f"used: another {name}" if said != true else "")


def _truncated(kit: Kit, device: Path) -> Outcome:
    """The largest file is cut under a process that uses it."""
    shutil.copytree(kit["1"], device / "bundle")
    with kit.open(device / "bundle") as rec:
        os.truncate(device / "bundle" / "weights.bin", 0)
        assert len(rec.recommend(3)) == 3, "does not recommend"
        rec.score(kit.items[:2])
    return Outcome()


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()
