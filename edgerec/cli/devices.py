"""`edgerec devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table

__all__ = ["devices"]


def devices(
    name: Annotated[
        str | None, typer.Argument(help="Name or .toml file of a device. Default: all devices are listed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the known devices, or print the profile and budget of one."""
    from edgerec.devices import list_profiles, load_profile

    profiles = [load_profile(name)] if name is not None else list_profiles()
    if as_json:
        values = [profile.to_json() for profile in profiles]
        print_json(values[0] if name is not None else values)
    elif name is None:
        columns = ["device", "cores", "threads", "instructions", "bundle MB", "RAM MB", "p95 ms", "cold ms", "about"]
        limits = [[figure["limit"] for figure in p.to_json()["budget"].values()] for p in profiles]
        rows = [
            [p.name, p.cores, p.threads, p.instruction_set, *limit, p.about]
            for p, limit in zip(profiles, limits, strict=True)
        ]
        print_table(columns, rows)
    else:
        p = profiles[0]
        memory, core = p.memory_bandwidth_gb_s, p.core_speed
        typer.echo(
            f"{p.name}: {p.about}\n{p.cores} cores, of which recommend() uses {p.threads}; {p.instruction_set}; "
            f"{p.runtime}, operator set {p.opset}, kernel {p.kernel}\n"
            f"memory: {memory.value:g} GB/s per core ({memory.basis}: {memory.source})\n"
            f"core: {core.value:g} times as fast as one of server-x86 ({core.basis}: {core.source})"
        )
        figures = [[key, f["limit"], f["basis"], f["source"]] for key, f in p.to_json()["budget"].items()]
        print_table(["budget", "at most", "basis", "source"], figures, title="Budget of a bundle")
