"""`edgerec sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json
from edgerec.cli.recommend import BundleArgument

__all__ = ["sign"]


def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(help="Private key, written by edgerec keygen.")],
    as_json: JsonOption = False,
) -> None:
    """Check the files of a bundle and sign it.

    A bundle may have several signatures, for a time in which devices change from one key to another.
    """
    from edgerec.bundle import Bundle
    from edgerec.bundle.sign import sign_bundle

    folder = Bundle.open(bundle).folder
    signers = [str(signer) for signer in sign_bundle(folder, key)]
    if as_json:
        print_json({"bundle": str(bundle), "signers": signers})
        return
    for signer in signers:
        typer.echo(f"{bundle}: signed by {signer}")
