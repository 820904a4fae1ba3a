"""`edgerec keygen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json

__all__ = ["keygen"]


def keygen(
    name: Annotated[Path, typer.Argument(help="The private key is written to NAME.key, the public key to NAME.pub.")],
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys to sign and verify bundles.

    The private key signs bundles, and the app verifies them with the public key.
    """
    from edgerec.bundle.sign import make_keys

    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    key = make_keys(private, public)
    if as_json:
        print_json({"private": str(private), "public": str(public), "key": str(key)})
        return
    typer.echo(f"{private}: keep it secret and backed up\n{public}: put this one into the app ({key})")
