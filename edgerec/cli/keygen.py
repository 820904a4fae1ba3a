"""`edgerec keygen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["keygen"]


def keygen(
    name: Annotated[Path, typer.Argument(help="NAME.key gets the private key, NAME.pub the public one.")],
) -> None:
    """Make a pair of keys: sign bundles with the private one, pin the public one in the app."""
    from edgerec.bundle.sign import make_keys

    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    key = make_keys(private, public)
    typer.echo(f"{private}: keep it secret and backed up\n{public}: pin this one in the app ({key})")
