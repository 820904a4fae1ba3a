"""`edgerec verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json
from edgerec.cli.recommend import BundleArgument

__all__ = ["verify"]


def verify(
    bundle: BundleArgument,
    public_key: Annotated[
        list[Path] | None, typer.Option(help="Public key (.pub); one of the given keys must have signed the bundle.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check hashes, signature and answers of a bundle.

    The answers are those to the conformance requests of the bundle, computed on this machine.
    """
    from edgerec.bundle.sign import require_signature
    from edgerec.runtime import Recommender

    with Recommender.of(bundle) as rec:
        if public_key:
            require_signature(rec.bundle.folder, public_key)
        requests = rec.check()
        files = len(rec.bundle.manifest.files)
    if as_json:
        print_json({"ok": True, "files": files, "conformance_requests": requests, "signed": bool(public_key)})
    else:
        signed = ", signed by a pinned key" if public_key else ""
        typer.echo(f"{bundle}: OK{signed}, {files} files whole, {requests} conformance requests answered as expected")
