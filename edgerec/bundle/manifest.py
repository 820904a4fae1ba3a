"""manifest.json: what a bundle is, what its graphs take, and the hash of every other file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgerec.errors import BundleError
from edgerec.tasks import Task

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
REQUIRED = ("recommend.onnx", "score.onnx", "weights.bin", "catalog.sqlite", "policy.json")
"""Files without which nothing can be recommended; similar.onnx exists only where a "related" task was trained."""
MAX_MANIFEST_BYTES = 8 * 2**20
"""A longer manifest is refused before it is parsed: its objects take twenty times its bytes."""
MAX_FILE_BYTES = 2**33
MAX_FILES, MAX_TASKS, MAX_TENSORS = 64, 256, 4096
MAX_ITEMS, MAX_DIM, MAX_THREADS = 2**31, 2**16, 64
MAX_VERSION = 2**53
MAX_NUMBER = 1e9

# Bundles are flat: a name without a separator cannot leave the folder on any platform.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever its ending."""
RANKED = "ndcg@10"
"""The metric of a fallback of a ranking."""
ROW_METRICS = {"binary": "auc", "regression": "xauc"}
"""Those of other tasks, by kind."""
_BASELINE = re.compile(r"[a-z_]{1,64}")
_DETAIL = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "copy the bundle again or build it again"


class FileEntry(NamedTuple):
    """Size and hash of one file; `sha256` is 64 lower-case hex digits."""

    sha256: str
    bytes: int


class TensorEntry(NamedTuple):
    """Where a tensor is in weights.bin: `offset` and `bytes` in bytes, `type` a numpy name such as "int8"."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


class FallbackEntry(NamedTuple):
    """A simple baseline that did a task better than the student, before the bundle was built.

    Attributes:
        baseline: its name, such as "recent_popularity". detail: its settings, in words.
        with_student: it counts beside what the student learned, not in its place.
        used: the bundle goes by it; false: the student's form cannot say it, so that the student counts all the same.
        metric: "ndcg@10" of a ranking, "auc" or "xauc" of impressions.
        value, of_student, n: the metric of what is named here and of the student alone, on so many requests or
            impressions.
    """

    baseline: str
    detail: str
    with_student: bool
    used: bool
    metric: str
    value: float
    of_student: float
    n: int

    def __str__(self) -> str:
        """In one sentence."""
        done, what = ("ranked", "requests") if self.metric == RANKED else ("predicted", "impressions")
        how = f"{done} by the student and" if self.with_student else f"{done} by"
        name = f"{self.baseline.replace('_', ' ')} ({self.detail})"
        of = f"{self.metric} {self.value:.4f} against {self.of_student:.4f} on {self.n:,} {what} before the test"
        if not self.used:
            return f"{name} {done} better than the student, and a bundle has no form for it: {of}"
        return f"{how} {name} in place of the student alone: {of}"


class Manifest(NamedTuple):
    """The typed form of manifest.json.

    Attributes:
        version: grows with every release of the same bundle.
        created: ISO time of the build; the only field that may differ between two builds from the same input.
        tasks: the scored tasks (not "related"), in the order of the graphs' outputs.
        n_items, dim: rows and columns of the item table.
        inputs: JSON of `edgerec.tasks.RequestEncoder`.
        fallback: by task, what did it better than the student; most bundles have none.
        settings, metrics, device: JSON for people and tools; the runtime reads ``device["threads"]`` only.
    """

    name: str
    version: int
    created: str
    tasks: tuple[Task, ...]
    n_items: int
    dim: int
    inputs: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    tensors: tuple[TensorEntry, ...]
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    device: Mapping[str, Any]
    fallback: Mapping[str, FallbackEntry] = {}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check ``folder/manifest.json``.

        Raises:
            BundleError: no bundle there, damaged or unsafe JSON, or another format version.
        """
        return cls.parse(manifest_bytes(folder / MANIFEST), str(folder / MANIFEST))

    @classmethod
    def parse(cls, content: bytes | str, source: str = MANIFEST) -> Manifest:
        """Parse the JSON of a manifest; `source` names it in errors.

        Raises:
            BundleError: see `read`.
        """
        try:
            text = content.decode("utf-8") if isinstance(content, bytes) else content
            fields = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{source}: not valid JSON ({error}): {_AGAIN}") from error
        return _ManifestReader(source).manifest(fields)


def manifest_bytes(path: Path) -> bytes:
    """The content of a manifest, read once: what is verified is what is parsed.

    Raises:
        BundleError: there is none, a link is in its place, or it is too long.
    """
    try:
        if path.is_symlink():
            raise BundleError(f"{path}: is a link; a bundle holds plain files only: {_AGAIN}")
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path.parent}: no bundle here ({path.name} is missing); check the path") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error}): {_AGAIN}") from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: more than {MAX_MANIFEST_BYTES} bytes; this is not a manifest: {_AGAIN}")
    return content


MAX_NAME = 128
"""Characters of a file's name; file systems take about 255 bytes."""


def check_name(name: str, source: str = MANIFEST) -> None:
    """Refuse a file name that could leave the bundle, or be another file on some platform.

    So "..", an absolute path, a separator, a drive, a control character, a device of Windows, a dot at the end.

    Raises:
        BundleError: `source` says where the name was found.

    >>> check_name("weights.bin")
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name) or name.endswith(".") or _DEVICES.fullmatch(name):
        raise BundleError(
            f"{source}: {name[:MAX_NAME]!r} is not a plain file name "
            f"(at most {MAX_NAME} letters, digits, '.', '_' and '-'); do not use this bundle"
        )


def previous_of(home: Path) -> Path:
    """Where the old bundle is between the two renames of a swap."""
    return home.with_name(f".{home.name}.previous")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers may disagree on which of two equal keys counts, so a hash could be checked for the wrong file.
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice")
    return fields


class _ManifestReader(NamedTuple):
    """Turns JSON into the tuples above; every error names `source` and the key."""

    source: str

    def manifest(self, fields: object) -> Manifest:
        top = self.typed(fields, dict, "the top level")
        version = top.get("format")
        if version != FORMAT or isinstance(version, bool):
            raise BundleError(
                f"{self.source}: format {version!r}, this edgerec reads {FORMAT}; build it again or update edgerec"
            )
        tasks = tuple(self.task(i, t) for i, t in enumerate(self.some(top, "tasks", list, MAX_TASKS)))
        return Manifest(
            name=self.get(top, "name", str),
            version=self.natural(top, "version", MAX_VERSION),
            created=self.get(top, "created", str),
            tasks=tasks,
            n_items=self.natural(top, "n_items", MAX_ITEMS),
            dim=self.natural(top, "dim", MAX_DIM),
            inputs=self.get(top, "inputs", dict),
            files=self.files(self.some(top, "files", dict, MAX_FILES)),
            tensors=tuple(self.tensor(t) for t in self.some(top, "tensors", list, MAX_TENSORS)),
            settings=self.get(top, "settings", dict),
            metrics=self.get(top, "metrics", dict),
            device=self.device(self.get(top, "device", dict)),
            fallback=self.fallback({"fallback": {}, **top}, {t.name: ROW_METRICS.get(t.kind, RANKED) for t in tasks}),
        )

    def fallback(self, top: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, FallbackEntry]:
        """`metrics`: by task, the one that says what is better."""
        found = {}
        for task, value in self.some(top, "fallback", dict, MAX_TASKS).items():
            if task not in metrics:
                raise self.error("fallback", f"names {task[:40]!r}, which is no task of this bundle")
            fields = self.typed(value, dict, "fallback")
            baseline = self.get(fields, "baseline", str)
            if not _BASELINE.fullmatch(baseline):
                raise self.error("fallback", f"must name a baseline, got {baseline[:40]!r}")
            detail = self.get(fields, "detail", str)
            if not _DETAIL.fullmatch(detail):
                raise self.error("fallback.detail", f"must be a few plain words, got {detail[:40]!r}")
            with_student, used = (self.get(fields, key, bool) for key in ("with_student", "used"))
            metric = self.get(fields, "metric", str)
            if metric != metrics[task]:
                raise self.error("fallback.metric", f"must be {metrics[task]!r} of {task!r}, got {metric[:40]!r}")
            better, of_student = (self.number(fields, key) for key in ("value", "of_student"))
            n = self.natural(fields, "n", MAX_VERSION)
            found[task] = FallbackEntry(baseline, detail, with_student, used, metric, better, of_student, n)
        return found

    def number(self, fields: Mapping[str, Any], key: str) -> float:
        value = fields.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
            raise self.error(f"fallback.{key}", f"must be a number from 0 to {MAX_NUMBER:g}, got {str(value)[:40]!r}")
        return float(value)

    def device(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        threads = self.natural({"threads": 1, **value}, "threads", MAX_THREADS)
        if not threads:
            raise self.error("device.threads", "must be at least 1")
        return value

    def task(self, index: int, value: object) -> Task:
        fields = self.typed(value, dict, f"tasks[{index}]")
        for key in ("name", "kind"):
            self.get(fields, key, str)
        try:
            return Task.from_json(fields)
        except (TypeError, ValueError) as error:
            raise self.error(f"tasks[{index}]", str(error)) from error

    def files(self, value: Mapping[str, Any]) -> dict[str, FileEntry]:
        for name in value:
            check_name(name, self.source)
            if name in (MANIFEST, SIGNATURE):
                raise self.error("files", f"must not list {name} itself")
        # File systems of phones and shops often ignore case: two such names would be one file there.
        if len({name.casefold() for name in value}) < len(value):
            raise self.error("files", "holds two names that differ only in case")
        for name in REQUIRED:
            if name not in value:
                raise self.error("files", f"must list {name}")
        return {name: self.file(name, entry) for name, entry in value.items()}

    def file(self, name: str, value: object) -> FileEntry:
        fields = self.typed(value, dict, f"files[{name!r}]")
        sha256 = self.get(fields, "sha256", str)
        if not _SHA256.fullmatch(sha256):
            raise self.error(f"files[{name!r}]", "must have a sha256 of 64 lower-case hex digits")
        return FileEntry(sha256, self.natural(fields, "bytes", MAX_FILE_BYTES))

    def tensor(self, value: object) -> TensorEntry:
        fields = self.typed(value, dict, "tensors")
        shape = tuple(self.typed(n, int, "shape") for n in self.get(fields, "shape", list))
        return TensorEntry(
            name=self.get(fields, "name", str),
            type=self.get(fields, "type", str),
            shape=shape,
            offset=self.natural(fields, "offset", MAX_FILE_BYTES),
            bytes=self.natural(fields, "bytes", MAX_FILE_BYTES),
        )

    def get(self, fields: Mapping[str, Any], key: str, kind: type) -> Any:
        if key not in fields:
            raise self.error(key, "is missing")
        return self.typed(fields[key], kind, key)

    def some(self, fields: Mapping[str, Any], key: str, kind: type, most: int) -> Any:
        value = self.get(fields, key, kind)
        if len(value) > most:
            raise self.error(key, f"holds {len(value)} entries, and at most {most} are read")
        return value

    def natural(self, fields: Mapping[str, Any], key: str, most: int) -> int:
        value = int(self.get(fields, key, int))
        if value < 0:
            raise self.error(key, f"must not be negative, got {value}")
        if value > most:
            raise self.error(key, f"must be at most {most}, got {str(value)[:40]}")
        return value

    def typed(self, value: object, kind: type, key: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            names = {dict: "an object", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}
            raise self.error(key, f"must be {names[kind]}, got {str(value)[:40]!r}")
        return value

    def error(self, key: str, problem: str) -> BundleError:
        return BundleError(f"{self.source}: {key} {problem}: {_AGAIN}")
