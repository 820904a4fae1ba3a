"""`edgerec inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import BundleArgument

__all__ = ["inspect"]


def inspect(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Print tasks, inputs, files, metrics and device of a bundle."""
    import json

    from edgerec.bundle import Bundle

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    if as_json:
        print_json(json.loads((opened.folder / "manifest.json").read_bytes()))
        return
    size = sum(entry.bytes for entry in manifest.files.values())
    typer.echo(
        f"{manifest.name}, version {manifest.version}, built {manifest.created}: {manifest.n_items} items, "
        f"{manifest.dim} dimensions, {size / 1e6:.2f} MB, for {manifest.device.get('name', 'any device')}"
    )
    inputs = manifest.inputs
    kinds = ("categorical", "numeric", "multi")
    columns = [(c["source"], c["name"]) for kind in kinds for c in inputs.get(kind, [])]
    known = ", ".join(f"{name} ({source})" for source, name in columns) or "none"
    typer.echo(f"history of up to {inputs.get('history', {}).get('max_items')} items; columns: {known}")
    tasks = [[t.name, t.kind, t.repeats if t.kind == "retrieval" else "", t.after, t.unit] for t in manifest.tasks]
    print_table(["task", "kind", "repeats", "after", "unit"], tasks, title="Tasks")
    for task, fallback in manifest.fallback.items():
        typer.echo(f"{task}: {fallback}")
    files = [[name, entry.bytes, entry.sha256[:12]] for name, entry in sorted(manifest.files.items())]
    print_table(["file", "bytes", "sha256"], files, title="Files")
    if metrics := list(_leaves(manifest.metrics)):
        print_table(["metric", "value", "se"], metrics, title="Metrics")


def _leaves(value: Mapping[str, object], path: str = "") -> Iterator[list[object]]:
    """Numbers of nested JSON by path; an object with "value" and "se" is one number and its standard error."""
    for key, inner in value.items():
        name = f"{path} {key}".strip()
        if isinstance(inner, Mapping) and "value" in inner:
            yield [name, inner["value"], inner.get("se")]
        elif isinstance(inner, Mapping):
            yield from _leaves(inner, name)
        elif isinstance(inner, int | float):
            yield [name, inner, None]
