"""Months as German, French, Spanish, Portuguese, Italian and Dutch logs write them, in English."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = ["english_months"]

_NAMES: Final = {
    "Jan": "januar jänner janvier janv enero ene janeiro gennaio gen januari",
    "Feb": "februar février fevrier févr fevr fév fev febrero fevereiro febbraio februari",
    "Mar": "märz maerz mär mrz mars marzo março marco maart mrt",
    "Apr": "avril avr abril abr aprile",
    "May": "mai mayo maio maggio mag mei",
    "Jun": "juni juin junio junho giugno giu",
    "Jul": "juli juillet juil julio julho luglio lug",
    "Aug": "august août aout agosto ago augustus",
    "Sep": "sept septembre septiembre setiembre setembro set settembre",
    "Oct": "oktober okt octobre octubre outubro out ottobre ott",
    "Nov": "novembre noviembre novembro",
    "Dec": "dezember dez décembre decembre déc diciembre dic dezembro dicembre",
}
_ENGLISH: Final = {name: month for month, names in _NAMES.items() for name in names.split()}
_WORD: Final = r"\p{L}{3,}\.?"
"""The first word of a date; a weekday before the month hides it."""


def english_months(text: pl.Expr) -> pl.Expr:
    """Texts with the name of a month in English: "3. März 2024" and "3 de marzo de 2024" are "3 Mar 2024".

    >>> pl.DataFrame({"t": ["03 abr. 2024", "3. März 2024"]}).select(english_months(pl.col("t")))["t"].to_list()
    ['03 Apr 2024', '3 Mar 2024']
    """
    plain = text.str.replace_all(r"(?i)\s+(de|del|di)\s+", " ").str.replace(r"^(\d{1,2})\.\s+", "${1} ")
    word = plain.str.extract(f"({_WORD})")
    month = word.str.strip_chars_end(".").str.to_lowercase().replace_strict(_ENGLISH, default=word)
    return pl.when(word.is_null()).then(plain).otherwise(plain.str.replace(_WORD, month.fill_null("")))
