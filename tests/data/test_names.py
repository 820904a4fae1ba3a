"""Names of columns say their part, in the languages in which logs are kept."""

from __future__ import annotations

import pytest

from edgerec.data.names import EXPOSURE, ITEM, RATING, SESSION, TIME, USER, exposure_of, names_id, says, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StockCode", ["stock", "code"]),
        ("reviewerID", ["reviewer", "id"]),
        ("unixReviewTime", ["unix", "review", "time"]),
        ("Número_Cliente", ["numero", "cliente"]),
        ("user.id", ["user", "id"]),
        ("उपयोगकर्ता_id", ["उपयोगकर्ता", "id"]),
    ],
)
def test_a_name_is_taken_apart_into_words_without_accents(name, words):
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            USER,
            [
                "user_id",
                "CustomerID",
                "Kundennummer",
                "id_client",
                "msno",
                "visitorid",
                "ид_клиента",
                "会员编号",
                "사용자번호",
            ],
        ),
        (ITEM, ["itemid", "appid", "asin", "Artikelnr", "code_produit", "producto", "товар", "商品コード", "ISBN"]),
        (TIME, ["timestamp", "t_dat", "Datum", "fecha", "购买日期", "購入日時", "created_at"]),
        (SESSION, ["InvoiceNo", "Belegnummer", "num_facture", "impression_id", "订单编号"]),
        (RATING, ["rating", "stars", "overall", "puntuación", "Bewertung", "оценка"]),
    ],
)
def test_roles_are_known_in_many_languages(words, names):
    assert [name for name in names if not says(name, words)] == []


def test_a_word_inside_another_says_nothing():
    assert not says("playtime_forever", TIME) and not says("lifetime", TIME) and not says("timezone", TIME)
    assert not says("itemized", ITEM) and not says("business_hours", USER)


def test_a_name_that_ends_like_an_id_is_one_unless_it_is_a_word():
    assert all(names_id(name) for name in ("steamid", "userId", "KundenNr", "msno", "hash_user", "商品编号"))
    assert not any(names_id(name) for name in ("valid", "paid", "android", "title", "playtime_forever"))


def test_columns_of_the_logging_system_are_known_by_their_kind():
    names = ["propensity_score", "action_prob", "model_score", "rank", "position", "is_rand"]
    assert [exposure_of(name) for name in names] == list(EXPOSURE)
    assert exposure_of("price") is None
