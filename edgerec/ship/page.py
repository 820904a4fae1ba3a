"""The kiosk page: its settings guessed from a bundle, its HTML with the popular items, the list of its files."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from edgerec.bundle.columns import Lists, Texts
from edgerec.bundle.sign import public_key_of
from edgerec.errors import ConfigError, DataError
from edgerec.runtime import Recommender

PAGE: Final = files("edgerec.ship") / "kiosk"
POPULAR: Final = 30
"""Items in the page itself: shown before anything is loaded, and where nothing else works."""
NOT_KEPT: Final = ("worker.js", "files.json", "kiosk.json", "next/manifest.json")
"""The browser, the worker, the settings and the bundle have ways of their own to be renewed."""
PICTURES: Final = "pictures"
PICTURE_TYPES: Final = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")
SIGNS: Final = {"EUR": "€", "GBP": "£", "USD": "$"}
"""How English writes some currencies; a script writes all of them in every language."""
SHARE_OF_TEXTS: Final = 0.5
"""A column with more distinct texts than this share of the items names no category."""

_KINDS: Final = {
    "view": ("view", "look", "visit", "click", "open", "impression", "detail", "watch", "play"),
    "basket": ("basket", "cart", "add", "save", "wish", "fav", "like"),
    "buy": ("buy", "bought", "purchase", "order", "transaction", "sale", "paid", "checkout", "conver", "ctcvr"),
    "dismiss": ("dismiss", "dislike", "hate", "hide", "skip", "not_interest"),
}
_NAMES: Final = {
    "picture": ("image", "picture", "photo", "img", "thumbnail", "poster", "cover"),
    "category": ("category", "categories", "department", "genre", "genres", "group", "class", "type", "tags"),
    "new": ("is_new", "new", "added", "created", "released", "release_date", "first_seen"),
}  # fmt: skip


def page_settings(
    rec: Recommender, title: str | None, language: str, public_key: Path | None, currency: str | None
) -> dict[str, Any]:
    """kiosk.json: the settings of the page, which the shop may edit."""
    model, manifest = rec.arrays.model, rec.bundle.manifest
    catalog = model.catalog
    columns = catalog.columns[4:]
    kinds = {name: catalog.kind_of(name) for name in columns}
    price = next((n for n in columns if kinds[n] == "number" and "price" in n.lower()), None)
    key = None if public_key is None else public_key_of(public_key)
    assert key is None or len(base64.b64decode(key)) == 32
    return {
        "title": title or manifest.name,
        "language": language,
        "k": 24,
        "diversity": 0.2,
        "idle_s": 90,
        "remember": False,
        "price": price,
        "currency": currency,
        "picture": _named(columns, "picture"),
        "category": _category(rec, [n for n in columns if kinds[n] != "number"]),
        "new": _named(columns, "new"),
        "sold_out": [],
        "events": event_kinds(manifest.inputs["history"]["kinds"]),
        "tasks": {t.name: _words(t.name) for t in manifest.tasks if t.kind not in ("retrieval", "related")},
        "weights": dict(model.policy.weights),
        "related": "similar.onnx" in manifest.files,
        "theme": {},
        "words": {},
        "updates": "next/",
        "update_s": 3600,
        "public_key": key,
    }


def event_kinds(kinds: Iterable[str]) -> dict[str, str | None]:
    """For what a visitor does, the kind of the log that it is most like; None: the model is not told.

    A log with one kind only has "event" for all that a visitor wants; what they do not want, it knows nothing of. Where
    a log has kinds, "event" is a row without any of them, so a purchase is at least what a basket is, and that a look.

    >>> event_kinds(["is_click", "is_like", "is_hate"])
    {'view': 'is_click', 'basket': 'is_like', 'buy': 'is_like', 'dismiss': 'is_hate'}
    >>> event_kinds([])
    {'view': 'event', 'basket': 'event', 'buy': 'event', 'dismiss': None}
    """
    known = list(kinds)
    # "dislike" and "hate" first, so that no dislike is taken for a like.
    found: dict[str, str | None] = {}
    for what in ("dismiss", "buy", "basket", "view"):
        free = [kind for kind in known if kind not in found.values()]
        found[what] = next((kind for kind in free if any(word in kind.lower() for word in _KINDS[what])), None)
    view = found["view"] or "event"
    basket = found["basket"] or found["buy"] or view
    return {"view": view, "basket": basket, "buy": found["buy"] or basket, "dismiss": found["dismiss"]}


def popular_items(rec: Recommender) -> list[dict[str, Any]]:
    """The list that the page shows where it has no other."""
    return [{"item": r.item, "title": r.title, "attributes": r.attributes} for r in rec.recommend(POPULAR)]


def write_page(
    folder: Path,
    settings: Mapping[str, Any],
    items: list[dict[str, Any]],
    pictures: Path | None,
    not_read: Iterable[str],
) -> None:
    """The files of the page, with the popular items in its HTML; then the list of all files of the folder.

    Args:
        pictures: a folder of pictures that are named like the items' ids, such as 22423.jpg.
        not_read: patterns of the bundle's files that a page leaves alone.
    Raises:
        DataError: `pictures` is no folder, or holds no picture.
    """
    shutil.copytree(str(PAGE), folder, dirs_exist_ok=True)
    own = _copy_pictures(pictures, folder)
    (folder / "pictures.json").write_text(_json(own), "utf-8")
    page = (folder / "index.html").read_text("utf-8")
    modules = sorted(p.relative_to(folder).as_posix() for p in (folder / "shop").glob("*.js") if p.name != "widget.js")
    filled = page_html(page, settings, items, own, modules)
    (folder / "index.html").write_text(filled, "utf-8")
    (folder / "kiosk.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / "app.webmanifest").write_text(_json(_app(settings)), "utf-8")
    if settings["updates"]:
        # Until the shop puts a bundle there, so that the page asks for no file that is missing.
        (folder / settings["updates"]).mkdir()
        (folder / settings["updates"] / "manifest.json").write_text(_json({"version": 0}), "utf-8")
    (folder / "files.json").write_text(_json({"files": listed(folder, not_read)}), "utf-8")


def page_html(
    page: str,
    settings: Mapping[str, Any],
    items: list[dict[str, Any]],
    pictures: Mapping[str, str],
    modules: Iterable[str] = (),
) -> str:
    """index.html with words, title, popular items and settings filled in."""
    words = words_of(settings["language"])

    def say(found: re.Match[str]) -> str:
        return f"{found[1]}{html.escape(words[found[2]])}<"

    def name(found: re.Match[str]) -> str:
        attribute = "aria-label" if found[1] == "label" else found[1]
        return f'data-say-{found[1]}="{found[2]}" {attribute}="{html.escape(words[found[2]])}"'

    page = re.sub(r'(<[^>]*data-say="(\w+)"[^>]*>)[^<]*<', say, page)
    page = re.sub(r'data-say-(label|placeholder)="(\w+)"(?: aria-label="[^"]*")?', name, page)
    language = "en" if settings["language"] == "auto" else settings["language"]
    title = html.escape(settings["title"])
    cards = "\n".join(_card(item, settings, pictures) for item in items[: settings["k"]])
    made = _json({"settings": settings, "items": items}).replace("<", "\\u003c")
    preload = "".join(f'<link rel="modulepreload" href="{name}">\n' for name in modules)
    for before, after in (
        ('<html lang="en" dir="ltr">', f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">'),
        ("<title>Shop</title>", f"<title>{title}</title>"),
        ('<a id="name" href="#/">Shop</a>', f'<a id="name" href="#/">{title}</a>'),
        ("<!--preload-->\n", preload),
        ("<!--cards-->", cards),
        ('{"settings": {}, "items": []}', made),
    ):
        assert page.count(before) == 1, before
        page = page.replace(before, after)
    return page


def listed(folder: Path, not_read: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file that the worker keeps; pictures are kept as they are seen."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    names = {p.relative_to(folder).as_posix(): p for p in paths}
    left = (*NOT_KEPT, f"{PICTURES}/*", *(f"bundle/{pattern}" for pattern in not_read))
    kept = {name: p for name, p in names.items() if not any(fnmatch(name, pattern) for pattern in left)}
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in kept.items()}


def words_of(language: str) -> dict[str, str]:
    """The texts of words.js in a language; "auto" has English until the browser says its own."""
    return _all_words()["en" if language == "auto" else language]


def check_language(language: str) -> str:
    """Raise ConfigError for a language that words.js does not have."""
    known = [*_all_words(), "auto"]
    if language not in known:
        raise ConfigError(f"--language: no words for {language!r}; known are {', '.join(known)}")
    return language


def check_currency(currency: str | None) -> str | None:
    """Raise ConfigError for what is no code of ISO 4217."""
    if currency is not None and not re.fullmatch("[A-Z]{3}", currency):
        raise ConfigError(f"--currency: expected three capital letters such as GBP, got {currency!r}")
    return currency


def _all_words() -> dict[str, dict[str, str]]:
    text = (PAGE / "shop" / "words.js").read_text(encoding="utf-8")
    start = text.index("{", text.index("export const WORDS"))
    words: dict[str, dict[str, str]] = json.JSONDecoder().raw_decode(text, start)[0]
    return words


def _card(item: Mapping[str, Any], settings: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """As `card` of cards.js makes it, as far as it is known without a script."""
    attributes = item["attributes"]
    value, own = attributes.get(settings["price"]), attributes.get(settings["picture"])
    price = f'<span class="price">{_price(value, settings)}</span>' if isinstance(value, int | float) else ""
    source = f"{PICTURES}/{pictures[item['item']]}" if item["item"] in pictures else own if isinstance(own, str) else ""
    image = f'<img src="{html.escape(source)}" alt="">' if source else ""
    title = html.escape(readable(item["title"]))
    return (
        f'<li class="card"><span class="open"><span class="top"><span class="picture">{image}</span></span>'
        f'<strong class="title">{title}</strong>{price}</span></li>'
    )


def _price(value: float, settings: Mapping[str, Any]) -> str:
    currency = settings["currency"] or ""
    if settings["language"] in ("en", "auto") and currency in SIGNS:
        return f"{SIGNS[currency]}{value:,.2f}"
    return f"{value:.2f} {currency}".rstrip()


def readable(title: str) -> str:
    """A title in capitals as titles are written; titles.js does the same with more care."""
    clean = " ".join(title.split()).removesuffix(".")
    return re.sub(r"[^\W_]+(['’][^\W_]+)*", lambda m: m[0].capitalize(), clean) if clean.isupper() else clean


def _copy_pictures(source: Path | None, folder: Path) -> dict[str, str]:
    """File name by item."""
    if source is None:
        return {}
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; name one with pictures that are called like the items' ids")
    paths = {p.stem: p for p in sorted(source.iterdir()) if p.suffix.lower() in PICTURE_TYPES}
    if not paths:
        raise DataError(f"{source}: holds no picture; expected files such as 22423.jpg, called like the items' ids")
    (folder / PICTURES).mkdir()
    for path in paths.values():
        shutil.copyfile(path, folder / PICTURES / path.name)
    return {item: path.name for item, path in paths.items()}


def _app(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a browser needs to install the page."""
    icon = {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}
    return {
        "id": "./",
        "name": settings["title"],
        "short_name": settings["title"][:12].strip(),
        "display": "fullscreen",
        "display_override": ["fullscreen", "standalone"],
        "start_url": "./",
        "scope": "./",
        "icons": [icon, {**icon, "purpose": "maskable"}],
        "theme_color": "#0b5d4e",
        "background_color": "#faf9f6",
    }


def _named(columns: Iterable[str], what: str) -> str | None:
    """The column whose name says it: a whole name before a part of one."""
    by_name = {name.lower(): name for name in columns}
    for word in _NAMES[what]:
        if word in by_name:
            return by_name[word]
    parts = [
        name for name in by_name if what != "new" and any(word in re.split(r"[_\W]+", name) for word in _NAMES[what])
    ]
    return by_name[parts[0]] if parts else None


def _category(rec: Recommender, columns: list[str]) -> str | None:
    """The column that groups the items best: by its name, if its texts come back."""
    catalog = rec.arrays.model.catalog
    repeated = []
    for name in columns:
        column = catalog.column(name)
        if isinstance(column, Texts | Lists) and 2 <= len(column.values) <= SHARE_OF_TEXTS * len(catalog):
            repeated.append(name)
    return _named(repeated, "category")


def _words(name: str) -> str:
    return re.sub(r"[_\s]+", " ", name.removeprefix("is_")).strip().capitalize()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
