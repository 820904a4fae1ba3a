"""An example of what an app does with its bundle: python app.py, then type the number of an item, or a command."""

from __future__ import annotations

import sys
from pathlib import Path

from edgerec.errors import EdgerecError
from edgerec.runtime import Recommender

HERE = Path(__file__).parent
HELP = "a number: look at that item | more ID: items like it | why ID | forget | update FOLDER | quit"


def main() -> None:
    # Verified before it is loaded; events stay in state.sqlite on this device.
    with Recommender.open(HERE / "bundle", store=HERE / "state.sqlite") as rec:
        print(f"{rec.bundle.manifest.name} {rec.bundle.manifest.version}, {rec.bundle.manifest.n_items} items")
        print(HELP)
        while True:
            rows = rec.recommend(k=10, explain=True)
            for number, r in enumerate(rows, 1):
                why = ", ".join(reason.title for reason in r.reasons if reason.title) or "popular now"
                print(f"{number:3}  {r.item:12} {r.title}  ({why})")
            words = (sys.stdin.readline() or "quit").split()
            try:
                match words:
                    case ["quit"]:
                        return
                    case [place] if place.isdigit() and 1 <= int(place) <= len(rows):
                        rec.observe(rows[int(place) - 1].item)
                    case ["more", item]:
                        for r in rec.similar(item, k=5):
                            print(f"     {r.item:12} {r.title}")
                    case ["why", item]:
                        print(rec.explain(item))
                    case ["forget"]:
                        rec.forget()
                    case ["update", folder]:
                        print(rec.update(folder))
                    case _:
                        print(HELP)
            except EdgerecError as error:
                print(error)


if __name__ == "__main__":
    main()
