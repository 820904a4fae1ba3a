"""What the recommenders of all users of one device share: the bundle in use, the store, and updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING

from edgerec.bundle import Bundle
from edgerec.errors import BundleError, ConfigError
from edgerec.runtime.memory import UserMemory
from edgerec.runtime.model import Model
from edgerec.runtime.store import EventStore
from edgerec.runtime.updates import Updates

if TYPE_CHECKING:
    import numpy as np

MAX_USERS = 256
"""Users of a device whose encoded history is remembered."""


@dataclass(eq=False, repr=False)
class Device:
    """What the recommenders of all users of a device share.

    Attributes:
        load: makes a model of an update's bundle.
        updates: None where the bundle is never updated.
    """

    model: Model
    store: EventStore
    load: Callable[[Bundle], Model]
    updates: Updates | None = None
    closed: bool = False
    users: dict[str, UserMemory] = field(default_factory=dict)
    users_lock: Lock = field(default_factory=Lock)  # `lock` is held for as long as an update takes
    lock: RLock = field(default_factory=RLock)

    def user(self, name: str) -> UserMemory:
        """The memory of a user by name, kept with its history: a service asks for the same few again."""
        with self.users_lock:
            memory = self.users.get(name)
            if memory is None:
                if len(self.users) >= MAX_USERS:
                    self.users.clear()
                memory = self.users[name] = UserMemory(self.store, name)
            return memory

    @cached_property
    def random(self) -> np.random.Generator:
        """For trials; made on use, since a device may lack numpy, and loading it takes time."""
        import numpy as np

        return np.random.default_rng()

    def update(self, folder: Path) -> str:
        """See `Recommender.update`."""
        if self.updates is None:
            raise ConfigError("this recommender has one bundle only; open it with Recommender.open to update it")
        with self.lock:
            name = self.updates.install(folder, self.model.bundle)
            if name is not None:
                model = self.updates.open(self.load)
                if model.bundle.folder.name != name:
                    raise BundleError(
                        f"{folder}: passed its self-test and cannot be loaded here; the old version stays in use"
                    )
                self.model = model
                self.store.bound(model.policy.log)
            return self.model.name

    def close(self) -> None:
        """Close the files."""
        with self.lock:
            self.closed = True
            self.model.close()
            self.store.close()
