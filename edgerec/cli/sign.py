"""`edgerec sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.recommend import BundleArgument

__all__ = ["sign"]


def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(help="Private key, written by edgerec keygen.")],
) -> None:
    """Check the files of a bundle and sign it.

    A bundle may have several signatures, for a time in which devices change from one key to another.
    """
    from edgerec.bundle import Bundle
    from edgerec.bundle.sign import sign_bundle

    folder = Bundle.open(bundle).folder
    for signer in sign_bundle(folder, key):
        typer.echo(f"{bundle}: signed by {signer}")
