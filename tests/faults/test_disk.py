"""A disk that fails at any call: no event stands still, nothing acknowledged is lost, only our errors are raised."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.benchmarks.injected import library

ROOT = Path(__file__).parents[2]
CODE = """
import json, os, sys, time
from pathlib import Path
from edgerec.errors import EdgerecError
from edgerec.runtime.store import EventStore
from tools.benchmarks.injected.library import Injector, Mode

def use(path, at, mode, lasting):
    store, slowest, told = EventStore(path), 0.0, ["before"]
    store.events.append("before", "click", 1, {})
    store.close()
    with Injector(path).at(at, mode, lasting):
        store = EventStore(path)
        for number in range(4):
            start = time.monotonic()
            try:
                if store.events.append(str(number), "click", 2, {}):
                    told.append(str(number))
                store.events.read(("click",))
            except EdgerecError:
                pass
            slowest = max(slowest, time.monotonic() - start)
            store.size()
            if number == 2:
                try:
                    store.forget("nobody")
                except EdgerecError:
                    pass
        try:
            memory = store.trouble is not None and store.events.read(("click",)).item[-1:] or None
        except EdgerecError:
            memory = "unreadable"
    store.close()
    left = EventStore(path).events.read(("click",)).item
    return {"slowest": slowest, "lost": sorted(set(told) - set(left)), "trouble": store.trouble, "memory": memory}

home, lasting = Path(sys.argv[1]), bool(int(sys.argv[2]))
for at in range(1, 60, 2):
    for mode in (Mode.IO_ERROR, Mode.NO_SPACE):
        told = use(home / f"{at}-{mode}.sqlite", at, mode, lasting)
        print(json.dumps({"at": at, "mode": mode.name, **told}))
"""


@pytest.mark.skipif(library.compiler() is None, reason="needs Linux and a C compiler")
@pytest.mark.parametrize("lasting", [True, False], ids=["lasting", "once"])
def test_on_a_failing_disk_no_event_stands_still_and_what_it_does_not_take_is_in_memory(tmp_path, lasting):
    environment = {**os.environ, "LD_PRELOAD": str(library.build(tmp_path)), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, str(tmp_path), str(int(lasting))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    trials = [json.loads(line) for line in run.stdout.splitlines()]
    assert [trial for trial in trials if trial["lost"]] == []
    # SQLite waits for ten seconds; a busy machine delays a call by less than one.
    assert [trial for trial in trials if trial["slowest"] > 1] == []
    in_memory = [trial["memory"] for trial in trials if trial["trouble"] is not None]
    assert set(map(str, in_memory)) <= {"['3']"}
    assert not lasting or len(in_memory) > 10
