"""One user's view of a device: the bundle in use, and what is stored of the user."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from edgerec.bundle import Bundle
from edgerec.errors import ConfigError
from edgerec.runtime import arguments
from edgerec.runtime.arrays import ArrayRecommender
from edgerec.runtime.device import Device
from edgerec.runtime.events import DEFAULT_PROFILE
from edgerec.runtime.memory import UserMemory
from edgerec.runtime.store import EventStore
from edgerec.tasks import RequestEncoder


class UserView:
    """What a `Recommender` is besides its requests: the views of all users share a device, and so bundle and store."""

    def __init__(self, device: Device, memory: UserMemory) -> None:
        """Use `Recommender.open`, which verifies the bundle first."""
        self._device, self._memory, self._ended = device, memory, False

    @property
    def bundle(self) -> Bundle:
        """What is recommended from."""
        return self._device.model.bundle

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the scored tasks."""
        return self._device.model.tasks

    @property
    def encoder(self) -> RequestEncoder:
        """How a request becomes arrays."""
        return self._device.model.encoder

    @property
    def arrays(self) -> ArrayRecommender:
        """The same user's requests over item indices; of the bundle in use now, whatever update comes meanwhile."""
        self._require_open()
        return ArrayRecommender(self._device.model, self._memory)

    # --- users ---

    def profile(self, name: str) -> Self:
        """The same recommender for another user of this device, with a past of its own in the same store."""
        self._require_open()
        device, memory, name = self._device, self._memory, arguments.name(name, "profile")
        if name:
            return type(self)(device, device.user(name))
        is_default = memory.profile == name and memory.store is device.store
        return self if is_default else type(self)(device, UserMemory(device.store))

    def session(self, idle_s: float = 0.0) -> Self:
        """The same recommender for a visitor without a name: the past is in memory only, and gone when it is closed.

        Args:
            idle_s: seconds without a call after which the next call finds it empty; 0: never.
        """
        idle_s, policy = arguments.number(idle_s, "idle_s", 0, arguments.LATEST_MS), self.arrays.model.policy
        return type(self)(self._device, UserMemory(EventStore(None, policy.log), idle_s=idle_s))

    def profiles(self) -> list[str]:
        """Names of all users of whom something is stored."""
        self._require_open()
        return self._device.store.profiles()

    # --- the bundle ---

    def update(self, folder: str | Path) -> str:
        """Take a newer bundle, or a delta to one, from a folder: verified, tried in a process of its own, swapped in.

        The old version stays and is used until the new one has passed everything, and again if it later fails.
        Returns:
            "NAME VERSION" of the bundle in use.
        Raises:
            BundleError: it is damaged, older, unsigned where a key is pinned, or gives other answers here than where
                it was built; the old version stays in use.
        """
        self._require_open()
        return self._device.update(arguments.path(folder, "folder"))

    def check(self) -> int:
        """Run the bundle's conformance requests; returns how many passed.

        Raises:
            BundleError: this machine computes something else than the one that built the bundle.
        """
        return self.arrays.check()

    def health(self) -> dict[str, object]:
        """For a log of the app: bundle, engine, updates rolled back; rows and bytes of the store, events lost or
        waiting, the damage for which a file was set aside, and the trouble that keeps events in memory.
        """
        model, device = self.arrays.model, self._device
        rolled_back = device.updates.rolled_back() if device.updates else []
        facts = {"bundle": model.name, "engine": model.engine.name, "rolled_back": rolled_back}
        return {**facts, **device.store.size(), "damage": device.store.damage, "trouble": device.store.trouble}

    def close(self) -> None:
        """Close the files; events stay in the store. Closing twice is harmless, and a view closes itself only."""
        if self._memory.store is not self._device.store:
            self._ended = True
            self._memory.close()
        elif self._memory.profile == DEFAULT_PROFILE:
            self._device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._device.closed or self._ended:
            raise ConfigError("this recommender is closed; open it again")
