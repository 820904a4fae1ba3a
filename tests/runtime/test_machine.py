"""Any order of calls: what the recommender says is what a plain model of it says."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgerec.bundle import write_bundle
from edgerec.errors import BundleError
from edgerec.runtime import Events, Recommender
from tests import toy

NOW = toy.NOW_MS
USERS = st.sampled_from(["", "anna", "bob"])
ITEMS = st.sampled_from([f"i{i}" for i in range(11)])  # some of which the first versions do not hold
KINDS = {"event": 0, "click": 1, "click+like": 3}


class Device(RuleBasedStateMachine):
    """A device with its store and updates; the model is a list of events by user and a version."""

    @initialize()
    def start(self):
        self.home = Path(tempfile.mkdtemp())
        self.folders = {version: self.built(version) for version in (1, 2, 3)}
        self.version, self.told, self.ids = 1, {}, set()
        self.open()

    def built(self, version):
        folder = self.home / f"v{version}"
        folder.mkdir()
        manifest = {**toy.manifest(8 + version, 4), "version": version}
        write_bundle(folder / "bundle", toy.files(folder, 8 + version, 4), manifest)
        return folder / "bundle"

    def open(self):
        self.rec = Recommender.open(self.folders[1], store=self.home / "s.sqlite", engine="numpy")

    def view(self, user):
        return self.rec.profile(user) if user else self.rec

    @rule(user=USERS, item=ITEMS, kind=st.sampled_from(sorted(KINDS)), ago=st.integers(0, 99), number=st.integers(0, 9))
    def observe(self, user, item, kind, ago, number):
        stored = self.view(user).observe(item, kind, time=NOW - ago, event_id=f"{number}")
        assert stored
        if (user, number) not in self.ids:
            self.ids.add((user, number))
            self.told.setdefault(user, []).append((item, KINDS[kind], NOW - ago))

    @rule(user=USERS)
    def forget(self, user):
        self.view(user).forget()
        self.told.pop(user, None)
        self.ids = {(u, n) for u, n in self.ids if u != user}

    @rule(user=USERS, k=st.integers(1, 12), below=st.integers(0, 12), exclude=st.sets(ITEMS, max_size=3))
    def recommend(self, user, k, below, exclude):
        asked = {"where": "price < :below", "parameters": {"below": below}, "exclude": exclude, "now": NOW}
        recommended = self.view(user).recommend(k, **asked)
        items, kinds, times = zip(*self.told.get(user, []), strict=True) if self.told.get(user) else ((), (), ())
        past = Events(list(items), np.array(kinds, np.int64), np.array(times, np.int64))
        with Recommender.of(self.folders[self.version], "numpy") as fresh:
            wanted = fresh.recommend(k, history=past, **asked)
        assert [(r.item, r.utility) for r in recommended] == [(r.item, r.utility) for r in wanted]
        assert recommended.why_fewer == wanted.why_fewer
        possible = {f"i{i}" for i in range(min(below, 8 + self.version))} - exclude
        assert len(recommended) == min(k, len(possible)) and {r.item for r in recommended} <= possible

    @rule(item=ITEMS)
    def session(self, item):
        with self.rec.session() as visitor:
            visitor.observe(item, time=NOW)
            assert len(visitor.recommend(3, now=NOW, log=True)) == 3

    @precondition(lambda self: self.version < 3)
    @rule()
    def update(self):
        self.version += 1
        assert self.rec.update(self.folders[self.version]) == f"toy {self.version}"

    @rule(version=st.integers(1, 3))
    def old_update(self, version):
        if version < self.version:
            try:
                self.rec.update(self.folders[version])
            except BundleError:
                return
            raise AssertionError("an older version was taken")

    @rule()
    def restart(self):
        self.rec.close()
        self.open()

    @invariant()
    def nothing_is_lost(self):
        health = self.rec.health()
        assert health["bundle"] == f"toy {self.version}" and health["lost"] == 0 and health["rolled_back"] == []
        assert health["events"] == sum(map(len, self.told.values()))
        assert self.rec.profiles() == sorted(user for user, events in self.told.items() if events)

    def teardown(self):
        if hasattr(self, "rec"):
            self.rec.close()
            shutil.rmtree(self.home, ignore_errors=True)


Device.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestDevice = Device.TestCase
