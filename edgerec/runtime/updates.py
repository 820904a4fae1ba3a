"""Versions of a bundle side by side: installing a new one, falling back to the old one.

The bundle that came with the app is never touched. What `install` brings lies in a folder of its own, each version
under the first digits of its manifest's hash, and state.json says which one is in use. Every step is a rename or a file
that is written as a whole, so that a device that loses its power finds a bundle that works.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import edgerec
from edgerec.bundle import MANIFEST, Bundle, Manifest
from edgerec.bundle.manifest import SIGNATURE
from edgerec.bundle.read import open_plain, read_manifest
from edgerec.errors import BundleError

if TYPE_CHECKING:
    from edgerec.bundle.sign import PublicKey

T = TypeVar("T")

STATE: Final = "state.json"
MAX_STARTS: Final = 3
"""Starts that a new version may fail before the previous one comes back."""
SELFTEST_S: Final = 120
MAX_SIGNATURE: Final = 1 << 16
COPIED: Final = 1 << 20
"""Bytes that are copied at a time."""
GROWTH: Final = 4
"""How many times larger than the bundle in use, or than its device's budget, an update may be."""
LEAST_MEMORY: Final = 1 << 30
_LONGEST: Final = 64
"""Characters of a name of a version; ours have 16."""
_INCOMING: Final = ".incoming"


@dataclass
class State:
    """What state.json holds.

    Attributes:
        current, previous: names of versions; None is the bundle that came with the app.
        confirmed: whether `current` has ever been opened and answered.
        starts: how often it was tried before that.
        bad: names of versions that failed; they are not installed again.
    """

    current: str | None = None
    previous: str | None = None
    confirmed: bool = True
    starts: int = 0
    bad: list[str] = field(default_factory=list)


class Updates:
    """The versions of one bundle on this device. One process installs at a time."""

    def __init__(
        self,
        shipped: Path,
        folder: Path | None = None,
        keys: PublicKey | Sequence[PublicKey] | None = None,
        python: str | None = sys.executable,
    ) -> None:
        """See `Recommender.open`.

        Args:
            python: runs the self-test in a process of its own; empty: it runs here.
        """
        self.python = python
        self._shipped, self._keys = shipped, keys
        self._folder = folder or shipped.absolute().with_name(f"{shipped.absolute().name}.updates")

    def open(self, load: Callable[[Bundle], T]) -> T:
        """Load the version in use; one that fails is rolled back, in the end to the bundle that came with the app.

        Raises:
            BundleError: that one fails as well; what is wrong with it.
        """
        state = self._state()
        while state.current is not None:
            # One process at a time tries a version that has never worked: its starts are counted, and several at once
            # would look like several that failed.
            with nullcontext() if state.confirmed else self._alone(required=False):
                state = self._state()
                loaded = None if state.current is None else self._try(state, load)
            if loaded is not None:
                return loaded
            state = self._state()
        return load(self._verified(self._shipped))

    def install(self, source: Path, current: Bundle) -> str | None:
        """Take a bundle or a delta; it is used from the next `open` on.

        Returns:
            The version's name, or None if it is the one in use.
        Raises:
            BundleError: see `Recommender.update`.
        """
        import shutil

        try:
            with self._alone():
                incoming = self._folder / _INCOMING
                shutil.rmtree(incoming, ignore_errors=True)
                incoming.mkdir()
                try:
                    return self._take(source, incoming, current)
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
        except OSError as error:
            raise BundleError(
                f"{error.filename or self._folder}: the update could not be written ({error.strerror}); "
                "the old version stays in use"
            ) from error

    def rolled_back(self) -> list[str]:
        """Names of versions that failed on this device."""
        return list(self._state().bad)

    # --- taking a version ---

    def _take(self, source: Path, incoming: Path, current: Bundle) -> str | None:
        import shutil

        from edgerec.bundle.delta import DELTA, apply_delta  # loaded on use, as all that only an update needs

        if (source / DELTA).exists():
            apply_delta(current, source, incoming, self._keys, _most_bytes(current))
        else:
            _copy(source, incoming, self._keys, _most_bytes(current))
        # What was copied is what is checked: the stick may change meanwhile.
        new = self._verified(incoming)
        name = new.digest[:16]
        if name == current.digest[:16]:
            return None
        self._may_follow(new.manifest, current.manifest, source, name)
        _selftest(incoming, self.python, _memory_bytes(current))
        home = self._folder / name
        shutil.rmtree(home, ignore_errors=True)
        _flush(incoming)
        incoming.rename(home)
        _sync(self._folder)
        with suppress(OSError):  # so that a power cut does not take the folder itself; it may belong to another user
            _sync(self._folder.parent)
        state = self._state()
        state = State(name, self._name_of(current), False, 0, state.bad)
        self._write(state)
        self._sweep(state)
        return name

    def _may_follow(self, new: Manifest, old: Manifest, source: Path, name: str) -> None:
        if new.name != old.name:
            raise BundleError(
                f"{source}: is a bundle {new.name!r}, and {old.name!r} is in use; the old version stays in use"
            )
        if new.version <= old.version:
            raise BundleError(
                f"{source}: has version {new.version}, and {old.version} is in use; only a higher one is taken"
            )
        if name in self._state().bad:
            raise BundleError(f"{source}: version {new.version} has failed on this device before; build another one")

    def _name_of(self, bundle: Bundle) -> str | None:
        return bundle.folder.name if bundle.folder.parent == self._folder.absolute() else None

    def _sweep(self, state: State) -> None:
        """Drop versions that are neither in use nor the one before."""
        import shutil

        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in (state.current, state.previous, _INCOMING):
                shutil.rmtree(path, ignore_errors=True)

    # --- opening a version ---

    def _try(self, state: State, load: Callable[[Bundle], T]) -> T | None:
        """What `load` makes of the current version; None where it failed, and the one before is current."""
        assert state.current is not None
        if not state.confirmed:
            state.starts += 1
            if state.starts > MAX_STARTS:
                self._roll_back(state)
                return None
            self._write(state)
        try:
            bundle = self._verified(self._folder / state.current)
            if bundle.manifest.version < self._shipped_version():
                self._write(State(bad=state.bad))  # the app brought a newer one
                return None
            loaded = load(bundle)
        except BundleError:
            self._roll_back(state)
            return None
        if not state.confirmed:
            state.confirmed, state.starts = True, 0
            self._write(state)
        return loaded

    def _roll_back(self, state: State) -> None:
        bad = [*state.bad, state.current] if state.current else state.bad
        self._write(State(state.previous, None, True, 0, bad[-16:]))

    def _shipped_version(self) -> int:
        try:
            return Manifest.read(self._shipped).version
        except BundleError:
            return 0  # it is opened, and its error raised, when nothing else works

    def _verified(self, folder: Path) -> Bundle:
        return Bundle.open(folder, self._keys)

    # --- state.json ---

    def _state(self) -> State:
        """What state.json says; if it is damaged, the bundle that came with the app is used."""
        path = self._folder / STATE
        try:
            value = json.loads(path.read_bytes())
            state = State(**{name: value[name] for name in State.__dataclass_fields__})
            names = [state.current, state.previous, *state.bad]
            known = all(n is None or (isinstance(n, str) and n.isalnum() and len(n) <= _LONGEST) for n in names)
            if known and isinstance(state.starts, int):
                return state
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return State()

    def _write(self, state: State) -> None:
        """Write the file as a whole, or leave the old one where the disk is full or read-only; that works as well."""
        part = self._folder / f"{STATE}.part"
        with suppress(OSError):
            with part.open("w") as file:
                json.dump(asdict(state), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / STATE)
            _sync(self._folder)

    @contextmanager
    def _alone(self, required: bool = True) -> Iterator[None]:
        """Keep other processes out; the system releases the lock of a process that dies.

        Args:
            required: False where it is enough to try: on a read-only disk there is no lock, and nothing to change.
        """
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((self._folder / ".lock").open("w"))
            except OSError:
                if required:
                    raise
            else:
                with suppress(ImportError):
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _copy(source: Path, to: Path, keys: PublicKey | Sequence[PublicKey] | None, most_bytes: int) -> None:
    """Copy a bundle's listed files, its signature and sizes checked first; no byte more than it says."""
    content, manifest = read_manifest(source, keys, most_bytes)
    (to / MANIFEST).write_bytes(content)
    sizes = {name: entry.bytes for name, entry in manifest.files.items()}
    if (source / SIGNATURE).exists():
        sizes[SIGNATURE] = min((source / SIGNATURE).stat().st_size, MAX_SIGNATURE)
    for name, size in sizes.items():
        path = source / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path}: missing, or not a plain file; copy the bundle again")
        with open_plain(path) as original, (to / name).open("wb") as copied:
            left = size
            while left and (part := original.read(min(left, COPIED))):
                copied.write(part)
                left -= len(part)
            if left or original.read(1):
                raise BundleError(f"{path}: has not the {size} bytes that are expected; copy the bundle again")


def _most_bytes(current: Bundle) -> int:
    """Bytes that an update may have: several times what is in use, or what its device was meant for."""
    in_use = sum(entry.bytes for entry in current.manifest.files.values())
    return int(GROWTH * max(in_use, 1e6 * _budget(current, "bundle_mb")))


def _memory_bytes(current: Bundle) -> int:
    """Bytes of memory that the self-test of an update may take."""
    return int(max(LEAST_MEMORY, GROWTH * 1e6 * _budget(current, "peak_ram_mb")))


def _budget(current: Bundle, name: str) -> float:
    """A limit of the profile that a bundle was made for; 0 where it names none."""
    try:
        return float(current.manifest.device["budget"][name]["limit"])
    except (KeyError, TypeError, ValueError):
        return 0.0


def _selftest(folder: Path, python: str | None, memory_bytes: int) -> None:
    """Run the conformance requests in a process of its own: a graph that crashes takes only that one with it.

    Where a platform cannot start processes, they run here.
    """
    import subprocess

    code = "import sys; sys.path.insert(0, sys.argv[1]); from edgerec.runtime.selftest import main; main(*sys.argv[2:])"
    home = Path(edgerec.__file__).parent.parent
    if python:
        try:
            command = [python, "-c", code, str(home), str(folder), str(memory_bytes)]
            run = subprocess.run(command, capture_output=True, text=True, timeout=SELFTEST_S, check=False)
        except subprocess.TimeoutExpired:
            raise BundleError(
                f"{folder}: its self-test took over {SELFTEST_S} s; the old version stays in use"
            ) from None
        except OSError:
            pass
        else:
            if run.returncode:
                said = run.stderr.strip().split("\n")[-1] or f"it ended with {run.returncode}"
                raise BundleError(f"the self-test failed ({said[:300]}); the old version stays in use")
            return
    from edgerec.runtime.selftest import selftest

    selftest(folder)


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync(folder)


def _sync(folder: Path) -> None:
    from edgerec.bundle.write import sync_folder

    sync_folder(folder)
