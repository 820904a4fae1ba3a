"""Turns logged lists and their answers into what a device has learned of a user."""

from __future__ import annotations

import numpy as np

from edgerec.bundle.policy import Adapt
from edgerec.runtime.adaptation import LearnedState
from edgerec.runtime.events import NO_KIND
from edgerec.runtime.model import Model
from edgerec.runtime.store import EventStore
from edgerec.tasks.buffers import Matrix, floats, ints

NAME = "learned"
"""Under which name it is stored."""


def load_learned(store: EventStore, profile: str, model: Model) -> LearnedState:
    """What is known of a profile under this bundle."""
    return LearnedState.from_bytes(store.learned.get(NAME, profile), model.name)


def learn_from(store: EventStore, profile: str, model: Model) -> None:
    """Learn from a profile's newest list, once: an item was taken if an event names the list.

    Where the bundle has binary tasks, an event without any of them does not count as taken.
    """
    policy = model.policy
    newest = store.lists.read(profile, newest=1)
    if not newest or newest[0].bundle != model.name:
        return
    logged, learned = newest[0], load_learned(store, profile, model)
    if learned.last == logged.name:
        return
    indices = [model.catalog.index_of(item) for item in logged.items]
    known = [at for at, index in enumerate(indices) if index is not None]
    if not known:
        return
    answers = store.events.answers(logged.name, profile)
    kinds = {item: set(kind.split("+")) - {NO_KIND} for item, kind in answers.items()}
    liked = [item in answers and bool(kinds[item] or not model.encoder.binary) for item in logged.items]
    taken = np.array([liked[at] for at in known])
    items = ints(index for index in indices if index is not None)
    utility = floats(logged.utility[at] for at in known)
    learned.count(tuple(logged.items[at] for at in known), taken)
    needs_rows = policy.adapt is not None or (policy.explore is not None and policy.explore.method == "linucb")
    vectors = model.directions(items) if needs_rows else Matrix(floats([0.0] * len(items)), 1)
    learned.learn(utility, vectors, taken, policy.adapt or Adapt())
    if policy.explore is not None and policy.explore.method == "linucb":
        learned.refine(vectors, taken)
    learned.last = logged.name
    store.learned.put(NAME, learned.to_bytes(), profile)
