"""One word for one thing: words of earlier versions stand only where they are explained or where files contain them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgerec.config.renamed import KEYS, SECTIONS
from edgerec.errors import OLD_NAMES_UNTIL

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "tools" / "site" / "pages"
GLOSSARY = (PAGES / "glossary.md").read_text(encoding="utf-8")
RENAMED = (PAGES / "renamed.md").read_text(encoding="utf-8")

EVERYWHERE = (
    *("committee", "shown rows", "held part", "fit part", "newcomers", "arrivals", "followers", "least_kept"),
    *("most_lost", "least_same", "unlabelled", "easy labels", "easy_epochs", "held against", "is no signature"),
    *("numbers an item", "32-bit numbers", "log_shares", "best of the rest", "chain_log", "amounts"),
    "what devices told",
)
"""Old words that mean nothing else."""
IN_PYTHON = ("visit", "visits", "moment", "moments")
"""Old words that prose may use in their usual sense, but code may not."""
EXPLAINED_IN = (
    *("tools/site/pages/glossary.md", "tools/site/pages/renamed.md", "edgerec/config/renamed.py"),
    *("CHANGELOG.md", "tests/test_glossary.py", "tests/test_renamed_settings.py"),
)
ON_DISK = (
    *("newcomers.npz", '"followers"', "`followers`", '"_arrivals"', "next_arrivals"),
    *('"visits"', '"visit_gap_days"', '"share_of_visits"', '"visits_ago"', '"visit"'),
)
"""Names in bundles, models and reports of every version, and what a user's column may be called."""
NAMED_IN_TESTS = tuple(old for keys in (SECTIONS, *KEYS.values()) for old in keys)
"""What a test of a renamed setting may write."""


def files() -> Iterator[Path]:
    """Code, pages and tests that we wrote, without what a fuzzer found."""
    suffixes = {".py", ".js", ".ts", ".mjs", ".html", ".css", ".md", ".toml", ".yml", ""}
    for folder in ("edgerec", "tools", "devices", "tests", ""):
        paths = (ROOT / folder).rglob("*") if folder else ROOT.glob("*.md")
        for path in paths:
            if (
                path.suffix in suffixes
                and path.is_file()
                and not {"node_modules", "__pycache__", "found"} & {*path.parts}
            ):
                yield path


def in_one_line(text: str) -> str:
    """Without line breaks, marks of comments and quotes between strings, so that a phrase is found where it wraps."""
    return re.sub(r'"?\s*\n[\s#/*]*(?:f?")?', " ", text)


def old_words(path: Path) -> Iterator[str]:
    """Each use of an old word, with what stands around it."""
    name = path.relative_to(ROOT).as_posix()
    if name in EXPLAINED_IN:
        return
    text = path.read_text(encoding="utf-8")
    for kept in (*ON_DISK, *((f'"{old}"' for old in NAMED_IN_TESTS) if name.startswith("tests/") else ())):
        text = text.replace(kept, "")
    text = in_one_line(text)
    words = (*EVERYWHERE, *IN_PYTHON) if name.startswith("edgerec/") and path.suffix == ".py" else EVERYWHERE
    pattern = "|".join(rf"(?<![a-z]){re.escape(word)}(?![a-z])" for word in words)
    for match in re.finditer(pattern, text, re.IGNORECASE):
        yield f"{name}: {text[max(0, match.start() - 40) : match.end() + 40].strip()}"


def tables(page: str) -> Iterator[list[str]]:
    """The cells of each row of a page's tables."""
    for line in page.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip().strip("`") for cell in line.strip("|").split(" |")]


def test_an_old_word_stands_only_where_it_is_explained():
    uses = [use for path in files() for use in old_words(path)]
    assert not uses, f"{len(uses)} uses:\n" + "\n".join(uses)


def test_a_phrase_is_found_where_it_wraps(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text('# compared on the held\n    # part\nmessage = "a committee is "\n    "held against"\n')

    assert [use.partition(": ")[0] for use in old_words(path)] == ["module.py"] * 3


def test_each_term_of_the_glossary_is_defined_once_in_one_sentence():
    rows = [row for row in tables(GLOSSARY) if row[0] != "term"]
    terms = [term for row in rows for term in row[0].replace("`", "").split(", ")]

    assert len(terms) == len(set(terms)) > 60
    assert all(row[1].endswith(".") and row[1].count(". ") == 0 and row[2] for row in rows)


def test_the_glossary_names_every_old_word_in_its_last_column_only():
    rows = list(tables(GLOSSARY))
    last = " ".join(row[3] for row in rows)
    renamed = " ".join(cell for row in tables(RENAMED) for cell in row)

    assert [word for word in (*EVERYWHERE, "visit", "moment") if word not in last + renamed] == []
    for word in EVERYWHERE:
        assert not [row for row in rows if re.search(rf"\b{re.escape(word)}\b", " ".join(row[:3]))], word


def test_the_table_of_renamed_settings_is_what_the_settings_read():
    listed = {(row[0], row[1], row[2]) for row in tables(RENAMED) if row[0].startswith("[")}
    read = {(f"[{old}]", "the section itself", f"[{new}]") for old, new in SECTIONS.items()}
    read |= {(f"[{section}]", old, new) for section, keys in KEYS.items() for old, new in keys.items()}

    assert listed == read
    assert f"until version {OLD_NAMES_UNTIL}" in RENAMED


def test_the_help_has_no_old_word():
    docs = pytest.importorskip("tools.docs", reason="the tools lie beside a checkout")
    text = in_one_line(docs.commands() + docs.settings() + docs.python())

    assert [word for word in EVERYWHERE if re.search(rf"\b{re.escape(word)}\b", text)] == []
