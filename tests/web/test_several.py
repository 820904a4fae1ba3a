"""Cells with several values are the same numbers in JavaScript as in Python."""

import json
import subprocess

import numpy as np
import pytest

from edgerec.tasks import Multi, RequestEncoder
from tests.web.conftest import WEB

ENCODER = RequestEncoder(
    ("click",),
    (0.2,),
    4,
    multi=(Multi("tastes", "user", ("a", "b", "7", "true"), "|"), Multi("m", "user", ("x", "y"), ";")),
)
CELLS = [
    None, "", "a", " a |b||7.0", "A", "['a', \"b\"]", "[a]", "[]", ["a", "b", 7], [True, 7.0, None, "zzz"], ["a", "a"],
    7, True, "a;b",
]  # fmt: skip
SCRIPT = """
import { RequestEncoder } from "./src/request.js";
const { inputs, cells } = JSON.parse(process.argv[1]);
const encoder = new RequestEncoder(inputs);
const past = encoder.past([]);
const rows = cells.map((cell) => [...encoder.encode(past, 0, { tastes: cell, m: cell }).context_numeric]);
process.stdout.write(JSON.stringify(rows));
"""


def test_a_cell_has_the_same_numbers_in_both(node):
    job = json.dumps({"inputs": ENCODER.to_json(), "cells": CELLS})
    run = subprocess.run(
        [node, "--input-type=module", "-e", SCRIPT, job], cwd=WEB, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    past = ENCODER.past(*np.zeros((3, 0), np.int64))
    for cell, row in zip(CELLS, json.loads(run.stdout), strict=True):
        assert row == pytest.approx(ENCODER.encode(past, 0, {"tastes": cell, "m": cell}).context_numeric.tolist()), cell
