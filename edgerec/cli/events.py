"""`edgerec events`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.errors import ConfigError, DataError

if TYPE_CHECKING:
    from edgerec.runtime.store import EventStore

__all__ = ["events"]

ACTIONS = ("show", "export", "lists", "consent", "withdraw", "forget")
_COLUMNS = ("profile", "events", "lists", "agreed to export")


def events(
    action: Annotated[
        str,
        typer.Argument(
            help="show: count events of each user. export: write events. lists: write logged lists. "
            "consent, withdraw: note whether a user agrees to an export. forget: delete a user."
        ),
    ],
    store: Annotated[Path, typer.Argument(help="Store file of a device, as given to Recommender.open.")],
    bundle: Annotated[
        Path | None, typer.Option(help="For export and lists: the bundle on the device, for its catalog.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="For export and lists: .jsonl file to write.")] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(min=0.01, help="For export: epsilon of local differential privacy. Default: no noise is added."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help='For consent, withdraw and forget: profile of the user; "" is the default profile.'),
    ] = None,
    past: Annotated[
        bool,
        typer.Option("--past", help="For lists: also write context and past, so that another bundle can be judged."),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of the noise, for tests. Default: unpredictable noise.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show, export or delete the stored events of users.

    Only events of users who agreed are exported.
    """
    from edgerec.runtime.store import EventStore

    if epsilon is not None and not epsilon < float("inf"):
        raise ConfigError(f"--epsilon: expected a number of at least 0.01, got {epsilon}")
    if not store.is_file():
        raise DataError(f"{store}: no such file; give the store of Recommender.open")
    log = EventStore(store)
    try:
        if log.trouble is not None:
            raise DataError(f"{store}: {log.trouble}")
        if action == "show":
            _show(log, store, as_json)
        elif action in ("consent", "withdraw", "forget"):
            _change(log, store, action, profile, as_json)
        elif action in ("export", "lists"):
            _export(log, store, action, bundle, out, force, epsilon, seed, past, as_json)
        else:
            raise ConfigError(f"events: there is no action {action!r}; expected one of {', '.join(ACTIONS)}")
    finally:
        log.close()


def _show(log: EventStore, store: Path, as_json: bool) -> None:
    from edgerec.runtime.export import stored_profiles

    rows = [(of.profile or "(default)", *of[1:]) for of in stored_profiles(log)]
    if as_json:
        print_json({"profiles": [dict(zip(_COLUMNS, row, strict=True)) for row in rows], **log.size()})
    else:
        print_table(_COLUMNS, rows, title=f"{store}: {log.size()['bytes']:,} bytes, {log.lost} events lost")


def _change(log: EventStore, store: Path, action: str, profile: str | None, as_json: bool) -> None:
    from edgerec.runtime.export import consent

    if profile is None:
        raise ConfigError(f"events {action}: which user? give --profile NAME (empty is the default one)")
    if action == "forget":
        log.forget(profile)
    else:
        consent(log, profile, action == "consent")
    if as_json:
        print_json({"store": str(store), "action": action, "profile": profile})
        return
    typer.echo(f"{store}: {action} of {profile or '(default)'}: done")


def _export(
    log: EventStore,
    store: Path,
    action: str,
    bundle: Path | None,
    out: Path | None,
    force: bool,
    epsilon: float | None,
    seed: int | None,
    past: bool,
    as_json: bool,
) -> None:
    from random import Random

    from edgerec.bundle import Bundle, Catalog
    from edgerec.runtime.export import agreed, exported, exported_lists, write_rows
    from edgerec.tasks import RequestEncoder

    if bundle is None or out is None:
        raise ConfigError(f"events {action}: needs --bundle BUNDLE and -o OUT.jsonl")
    if out.exists() and not force:
        raise DataError(f"{out}: is there already; add --force to replace it")
    users = agreed(log)
    if not users:
        raise DataError(f"{store}: no user agreed to an export; see edgerec events consent")
    opened = Bundle.open(bundle)
    kinds = RequestEncoder.from_json(opened.manifest.inputs).binary
    random = Random(seed)
    if action == "export":
        rows = exported(log, Catalog(opened.path("catalog.sqlite")), kinds, epsilon, random)
    else:
        rows = exported_lists(log, kinds, random, past)
    n = write_rows(rows, out)
    if as_json:
        print_json({"out": str(out), "rows": n, "users": len(users), "epsilon": epsilon})
        return
    noise = f", noise with epsilon {epsilon:g}" if epsilon is not None and action == "export" else ""
    typer.echo(f"{out}: {n} rows of {len(users)} users who agreed{noise}")
