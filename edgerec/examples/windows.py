"""Windows of users' events, in which what follows each event is to be found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgerec.examples.log import Log
from edgerec.examples.pasts import latest_events
from edgerec.examples.requests import Requests
from edgerec.models.inputs import LatestEvents
from edgerec.tasks.history import Int

REACH = 5
"""Events that are near each other."""
MOST_NEAR = 500_000
"""Events whose neighbours are counted."""
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """W windows of a log: rows `start` to `end` (W,) of one user each are read, and the row after each is a target.

    Attributes:
        counts: bool (E,), rows that are targets.
    """

    log: Log
    counts: Bool
    start: Int
    end: Int

    @classmethod
    def of(cls, log: Log, counts: Bool, longest: int, users: Bool) -> Windows:
        """All events of `users` (n_users,) in windows of at most `longest` events, cut from the latest one on."""
        first, last = log.offsets[:-1][users], log.offsets[1:][users] - 1  # nothing follows the last event
        n = np.maximum(-(-(last - first) // longest), 0)
        owner = np.repeat(np.arange(len(n)), n)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(n) - n, n)
        end = last[owner] - place * longest
        start = np.maximum(end - longest, first[owner])
        targets = np.concatenate([[0], np.cumsum(counts)])
        some = targets[end + 1] > targets[start + 1]
        return cls(log, counts, start[some], end[some])

    def __len__(self) -> int:
        return len(self.start)

    def targets(self) -> int:
        """How many there are."""
        running = np.concatenate([[0], np.cumsum(self.counts)])
        return int((running[self.end + 1] - running[self.start + 1]).sum())

    def near(self, n_items: int) -> Tensor:
        """How often two items occur within `REACH` events, near ones counting more: sparse (n_items, n_items).

        It is symmetric, and divided by the root of both items' sums. Of many users, some are counted.
        """
        item, user = self.log.item, self.log.user
        opened = np.bincount(self.start, minlength=len(item) + 2) - np.bincount(self.end + 1, minlength=len(item) + 2)
        place = np.flatnonzero(np.cumsum(opened)[: len(item)] > 0)[:MOST_NEAR]
        pairs, weights = [np.zeros((2, 0), np.int64)], [np.zeros(0, np.float32)]
        for apart in range(1, min(REACH, len(place) - 1) + 1):
            first, second = place[:-apart], place[apart:]
            same = (user[first] == user[second]) & (second - first == apart)
            pairs.append(np.stack([item[first[same]], item[second[same]]]))
            weights.append(np.full(int(same.sum()), 1 / apart, np.float32))
        both = np.concatenate([*pairs, *(pair[::-1] for pair in pairs)], axis=1)
        weight = torch.from_numpy(np.concatenate([*weights, *weights]))
        first, second = torch.from_numpy(both)
        scale = (torch.zeros(n_items).index_add_(0, first, weight) + 1) ** -0.5
        weight = weight * scale[first] * scale[second]
        size = (n_items, n_items)
        return torch.sparse_coo_tensor(torch.stack([first, second]), weight, size, check_invariants=False).coalesce()

    def epoch(self, events: int, most: int, rng: np.random.Generator) -> Iterator[tuple[LatestEvents, Tensor]]:
        """The windows in random batches of like length and about `events` events, of about `most` events in all.

        Yields:
            What is read, and the item that follows each event, int64 (B, S), -1 where none does that counts.
        """
        size = self.end - self.start
        order = rng.permutation(len(size))
        order = order[: int(np.searchsorted(np.cumsum(size[order]), most, side="left")) + 1]
        order = order[np.argsort(size[order], kind="stable")]
        cut = np.flatnonzero(np.diff(np.cumsum(size[order]) // events)) + 1
        batches = [part for part in np.split(order, cut) if len(part)]
        for number in rng.permutation(len(batches)):
            yield self.batch(batches[number])

    def batch(self, chosen: Int) -> tuple[LatestEvents, Tensor]:
        """Some windows; as in `epoch`."""
        log, start, end = self.log, self.start[chosen], self.end[chosen]
        latest = latest_events(log.item, log.kind, log.time_ms, start, end, log.time_ms[end], 0.0, None)
        widest = latest.item.shape[1]
        following = np.maximum(end[:, None] - widest + 1 + np.arange(widest), 0)
        counts = latest.present.numpy() & self.counts[following]
        return latest, torch.from_numpy(np.where(counts, log.item[following], -1))


def latest_of(requests: Requests, chosen: Int, longest: int) -> LatestEvents:
    """The `longest` latest distinct items of some requests, as a device knows them too."""
    history, which = requests.histories(chosen)
    end = history.offsets[1:][which]
    start = np.maximum(history.offsets[:-1][which], end - longest)
    return latest_events(
        history.item, history.kind, history.last_ms, start, end, np.asarray(requests.time_ms[chosen]), 0.0, None
    )
