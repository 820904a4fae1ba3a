"""`edgerec events`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.errors import ConfigError, DataError

__all__ = ["events"]

StoreArgument = Annotated[Path, typer.Argument(help="A device's store, see Recommender.open.")]


def events(
    action: Annotated[str, typer.Argument(help="show, export, lists, consent, withdraw or forget.")],
    store: StoreArgument,
    bundle: Annotated[
        Path | None, typer.Option(help="For export: whose catalogue and kinds the events are of.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="For export and lists: a .jsonl file to write.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(min=0.01, help="For export: noise; smaller is more private. Left out: none.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="For consent, withdraw and forget: which user.")] = None,
    past: Annotated[
        bool, typer.Option("--past", help="For lists: context and past too, so that another bundle can be judged.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of the noise, for tests; unpredictable if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing OUT.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a device has stored of its users: show it, export it where they agreed, or forget it."""
    import numpy as np

    from edgerec.bundle import Bundle, Catalog
    from edgerec.runtime.export import agreed, consent, exported, exported_lists
    from edgerec.runtime.store import EventStore
    from edgerec.tasks import RequestEncoder

    if epsilon is not None and not epsilon < float("inf"):
        raise ConfigError(f"--epsilon: expected a number of at least 0.01, got {epsilon}")
    if not store.is_file():
        raise DataError(f"{store}: no such file; give the store of Recommender.open")
    log = EventStore(store)
    try:
        if action == "show":
            consenting = agreed(log)
            rows = [
                [
                    name or "(default)",
                    len(log.events.read((), name).item),
                    len(log.lists.read(name)),
                    name in consenting,
                ]
                for name in log.profiles()
            ]
            if as_json:
                print_json({"profiles": [dict(zip(_COLUMNS, row, strict=True)) for row in rows], **log.size()})
            else:
                print_table(_COLUMNS, rows, title=f"{store}: {log.size()['bytes']:,} bytes, {log.lost} events lost")
        elif action in ("consent", "withdraw", "forget"):
            if profile is None:
                raise ConfigError(f"events {action}: which user? give --profile NAME (empty is the default one)")
            if action == "forget":
                log.forget(profile)
            else:
                consent(log, profile, action == "consent")
            typer.echo(f"{store}: {action} of {profile or '(default)'}: done")
        elif action in ("export", "lists"):
            if bundle is None or out is None:
                raise ConfigError(f"events {action}: needs --bundle BUNDLE and -o OUT.jsonl")
            if out.exists() and not force:
                raise DataError(f"{out}: is there already; add --force to replace it")
            users = agreed(log)
            if not users:
                raise DataError(f"{store}: no user agreed to an export; see edgerec events consent")
            found = Bundle.open(bundle)
            kinds = RequestEncoder.from_json(found.manifest.inputs).binary
            random = np.random.default_rng(seed)
            if action == "export":
                rows_out = exported(log, Catalog(found.path("catalog.sqlite")), kinds, epsilon, random)
            else:
                rows_out = exported_lists(log, kinds, random, past)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows_out]
            out.write_text("".join(lines), encoding="utf-8")
            noise = f", noise with epsilon {epsilon:g}" if epsilon is not None and action == "export" else ""
            typer.echo(f"{out}: {len(lines)} rows of {len(users)} users who agreed{noise}")
        else:
            raise ConfigError(f"events: no action {action!r}; there are show, export, lists, consent, withdraw, forget")
    finally:
        log.close()


_COLUMNS = ("profile", "events", "lists", "agreed to export")
