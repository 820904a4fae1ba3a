"""Files that are whole or not there: written beside their place, then moved to it. Needs the standard library only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgerec.errors import DataError

__all__ = ["alone_in", "dump_json", "read_json", "replacing", "user_cache", "write_json", "write_whole"]


def user_cache(name: str, otherwise: Path) -> Path:
    """A folder of this user for what costs time to make again, whichever run asks; anything in it may be deleted.

    It lies in EDGEREC_CACHE, by default ``~/.cache/edgerec``; where nothing can be written there, it is `otherwise`.
    """
    try:
        folder = Path(os.environ.get("EDGEREC_CACHE") or Path.home() / ".cache" / "edgerec") / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or not ours
        return otherwise
    return folder if os.access(folder, os.W_OK | os.X_OK) else otherwise


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes from doing the same in a folder; the system frees the lock of a process that dies.

    Args:
        what: the command that works there, such as "edgerec prepare".

    Raises:
        DataError: another one is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{what.replace(' ', '-')}.lock").open("w") as file:
        try:
            _lock(file.fileno())
        except OSError:
            raise DataError(
                f"{folder}: another {what} is at work here; wait for it, or name another folder with --run-dir"
            ) from None
        yield


def _lock(descriptor: int) -> None:
    """Lock an open file for this process, at once or not at all; OSError if another one has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """The path of a new file beside `path`, which takes its place when the block ends without an error.

    Args:
        durable: flush the new file to the disk first, so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes, durable: bool = False, mode: int = 0o666) -> None:
    """Write a file, text in UTF-8; see `replacing`.

    Args:
        mode: who may read and write it, less what the process's umask takes away.
    """
    with replacing(path, durable) as part:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, values: object, *, sort_keys: bool = True, ensure_ascii: bool = True) -> None:
    """Write indented JSON, whole or not at all; with sorted keys, equal values give equal bytes.

    Args:
        sort_keys: False where the order of the keys tells a reader something.
        ensure_ascii: False where people read names of other scripts.
    """
    text = json.dumps(values, indent=1, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
    write_whole(path, f"{text}\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run.

    Raises:
        DataError: the file is missing or not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the stage that writes it again") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a JSON object; run the stage that writes it again")
    return values


def dump_json(value: object) -> bytes:
    """JSON as a bundle holds it: sorted keys and no NaN, so that equal values give equal bytes; no blanks, for size."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
