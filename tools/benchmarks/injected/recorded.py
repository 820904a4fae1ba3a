"""What a power cut leaves of what a process wrote down: files and folders are changes, and a disk takes some of them.

Of the bytes of a file since it was last flushed, a disk may have taken any part, in any order, and of a write whole
sectors of 512 bytes. Of the entries of a folder since it was last flushed, it has taken the first ones, however many.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

SECTOR: Final = 512
ROOT: Final = 0


class Step(NamedTuple):
    """One step: "W" wrote `content` at `place`, "T" cut the file to `place`, "S" flushed a file or a folder, "C" made a
    file, "D" a folder, "U" removed one, "X" the other, "R" renamed to the path `content`, "A" acknowledged `place`."""

    op: str
    path: str
    place: int
    content: bytes = b""


class Change(NamedTuple):
    """A step, of the file or folder itself rather than of its name; for "C", "D", "U", "X" and "R" of the folder.

    Attributes:
        names: the entry; of "R" the new one too. child: what the entry names. to: folder of the new one.
    """

    op: str
    node: int
    place: int = 0
    content: bytes = b""
    names: tuple[str, ...] = ()
    child: int = 0
    to: int = 0


class Disk:
    """Folders and files by number.

    Attributes:
        folders: entries of each. files: bytes of each.
    """

    def __init__(self) -> None:
        self.folders: dict[int, dict[str, int]] = {ROOT: {}}
        self.files: dict[int, bytearray] = {}

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """What a folder holds."""
        disk = cls()
        for path in sorted(folder.rglob("*")):
            parent = disk.find(path.parent.relative_to(folder).parts)
            assert parent is not None
            disk.make(parent, path.name, disk.new(path.read_bytes() if path.is_file() else None))
        return disk

    def new(self, content: bytes | None) -> int:
        """A file with these bytes, or a folder."""
        number = 1 + max([*self.folders, *self.files])
        if content is None:
            self.folders[number] = {}
        else:
            self.files[number] = bytearray(content)
        return number

    def make(self, folder: int, name: str, child: int) -> None:
        """Give something a name."""
        self.folders[folder][name] = child

    def find(self, parts: Sequence[str]) -> int | None:
        """What a path names."""
        at: int | None = ROOT
        for part in parts:
            at = None if at is None else self.folders.get(at, {}).get(part)
        return at

    def take(self, changes: Sequence[Change]) -> None:
        """Do them."""
        for change in changes:
            entries, file = self.folders.get(change.node, {}), self.files.get(change.node, bytearray())
            if change.op in "CD":
                entries[change.names[0]] = change.child
            elif change.op in "UX":
                entries.pop(change.names[0], None)
            elif change.op == "R" and entries.pop(change.names[0], None) is not None:
                self.folders[change.to][change.names[1]] = change.child
            elif change.op == "T":
                file[:] = file[: change.place].ljust(change.place, b"\0")
            elif change.op == "W":
                file[:] = file.ljust(change.place, b"\0")
                file[change.place : change.place + len(change.content)] = change.content

    def write(self, folder: Path, node: int = ROOT) -> None:
        """Put it into a folder of the real disk."""
        folder.mkdir(exist_ok=True)
        for name, child in self.folders[node].items():
            if child in self.folders:
                self.write(folder / name, child)
            else:
                (folder / name).write_bytes(self.files[child])


def steps(record: bytes) -> list[Step]:
    """Read what the library wrote down; SQLite's shared memory is none of the disk's."""
    found, at = [], 0
    while at < len(record):
        op, name, place, size = struct.unpack_from("<cIqQ", record, at)
        at += 21
        path, content = record[at : at + name].decode(), record[at + name : at + name + size]
        at += name + size
        if not path.endswith("-shm"):
            found.append(Step(op.decode(), path, place, content))
    return found


def changes(done: Sequence[Step], home: str, disk: Disk) -> Iterator[Change]:
    """The steps below `home` as changes of `disk`, on which they are done; new files and folders get a number there."""
    for step in done:
        if step.op == "A":
            yield Change("A", -1, step.place)
            continue
        *parents, name = _parts(step.path, home) or [""]
        folder, child = disk.find(parents), disk.find(_parts(step.path, home))
        made = None
        if step.op in "CD" and folder is not None:
            child = disk.new(b"" if step.op == "C" else None)
            made = Change(step.op, folder, names=(name,), child=child)
        elif step.op in "UX" and folder is not None and child is not None:
            made = Change(step.op, folder, names=(name,), child=child)
        elif step.op == "R" and folder is not None and child is not None:
            *others, new = _parts(step.content.decode(), home)
            to = disk.find(others)
            assert to is not None
            made = Change("R", folder, names=(name, new), child=child, to=to)
        elif step.op in "WTS" and child is not None:
            made = Change(step.op, child, step.place, step.content)
        if made is not None:  # else of a file that has no name any more
            disk.take([made])
            yield made


def _parts(path: str, home: str) -> list[str]:
    return list(Path(os.path.relpath(path, home)).parts)


def surviving(done: Sequence[Change], choose: random.Random) -> list[Change]:
    """The changes that a power cut leaves, in the order in which the disk took them."""
    flushed = {change.node: number for number, change in enumerate(done) if change.op == "S"}
    unsure: dict[int, int] = {}  # entries of each folder since then, and how many of them were taken
    for number, change in enumerate(done):
        if change.op not in "WTSA" and number > flushed.get(change.node, -1):
            unsure[change.node] = unsure.get(change.node, 0) + 1
    taken = {folder: choose.randint(0, count) for folder, count in unsure.items()}
    kept: list[Change] = []
    loose: list[Change] = []
    for number, change in enumerate(done):
        if change.op in "SA" or number < flushed.get(change.node, -1):
            kept.append(change)
        elif change.op not in "WT":
            taken[change.node] -= 1
            kept += [change] if taken[change.node] >= 0 else []
        elif choose.random() < 0.5:
            loose.append(_torn(change, choose) if choose.random() < 0.3 else change)
    choose.shuffle(loose)
    return kept + loose


def _torn(change: Change, choose: random.Random) -> Change:
    """A part of a write, in whole sectors of the file."""
    if change.op != "W" or len(change.content) < 2:
        return change
    end = (change.place + choose.randrange(len(change.content))) // SECTOR * SECTOR
    return change._replace(content=change.content[: max(end - change.place, 0)])
