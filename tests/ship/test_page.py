"""What `edgerec embed web` guesses and writes; the parts of the page that need no browser."""

import json
import subprocess

import pytest

from edgerec.errors import ConfigError
from edgerec.ship.page import check_language, event_kinds, page_html, words_of
from tests.web.conftest import WEB, node  # noqa: F401

TITLES = [
    "RED WOOLLY HOTTIE WHITE HEART.",
    "REGENCY CAKESTAND 3 TIER",
    "VINTAGE CREAM CAKE STAND",
    "SET OF 3 CAKE TINS PANTRY DESIGN",
    "PAPER CHAIN KIT 50'S CHRISTMAS",
    "RED RETROSPOT MUG",
    "T-LIGHT  HOLDER",
    "Wooden iPad stand",
    "STRAWBERRY CANDLE",
]


def test_what_a_visitor_does_is_mapped_to_the_kind_of_the_log_that_it_is_most_like():
    assert event_kinds(["view", "add_to_cart", "purchase"]) == {
        "view": "view",
        "basket": "add_to_cart",
        "buy": "purchase",
        "dismiss": None,
    }
    assert event_kinds(["is_click", "is_dislike"]) == {
        "view": "is_click",
        "basket": "is_click",
        "buy": "is_click",
        "dismiss": "is_dislike",
    }


def test_a_log_of_one_kind_has_no_kind_for_what_nobody_wants():
    assert event_kinds([]) == {"view": "event", "basket": "event", "buy": "event", "dismiss": None}


def test_an_unknown_language_is_refused_with_those_that_are_known():
    assert check_language("auto") == "auto"
    with pytest.raises(
        ConfigError, match=r"no words for 'xx'; known are en, de, fr, es, it, pt, nl, pl, tr, ar, zh, ja"
    ):
        check_language("xx")


def test_titles_and_items_are_text_in_the_page_and_never_markup():
    settings = {"title": "<b>A&B", "language": "de", "k": 2, "price": None, "picture": None, "currency": "EUR"}
    items = [{"item": "1", "title": "</script><script>alert(1)</script>", "attributes": {}}]
    page = (
        '<html lang="en" dir="ltr"><title>Shop</title><!--preload-->\n<a id="name" href="#/">Shop</a>'
        '<b data-say="basket">Basket</b><ol><!--cards--></ol><script>{"settings": {}, "items": []}</script>'
    )
    filled = page_html(page, settings, items, {})
    assert filled.count("<script") == filled.count("</script") == 1
    assert "&lt;b&gt;A&amp;B" in filled and f">{words_of('de')['basket']}<" in filled and 'lang="de"' in filled


@pytest.fixture(scope="module")
def answers(node):  # noqa: F811
    """Of shop.mjs."""
    questions = [
        "cakestnd",
        "cake stand",
        "mugs",
        "tier regency",
        "woden",
        "strawbery candel",
        "id5",
        "nothing like it",
    ]
    job = json.dumps({"titles": TITLES, "questions": questions})
    run = subprocess.run([node, "test/shop.mjs"], cwd=WEB, input=job, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_titles_in_capitals_are_made_readable_and_others_left_alone(answers):
    assert answers["readable"] == [
        "Red Woolly Hottie White Heart",
        "Regency Cakestand 3 Tier",
        "Vintage Cream Cake Stand",
        "Set of 3 Cake Tins Pantry Design",
        "Paper Chain Kit 50's Christmas",
        "Red Retrospot Mug",
        "T-Light Holder",
        "Wooden iPad stand",
        "Strawberry Candle",
    ]
    assert answers["turkish"] == "Işık"


def test_the_page_of_an_item_says_nothing_twice(answers):
    assert answers["facts"] == [["Made of", "Cotton"]]


def test_prices_are_written_as_the_language_and_currency_have_it(answers):
    assert answers["prices"] == ["3,50\u00a0\u20ac", "\u00a31,234.00", "\uffe5980", "", "2.00", "2.50"]


def test_search_finds_joined_mistyped_and_plural_words(answers):
    found = answers["found"]
    assert set(found["cakestnd"]) == {"REGENCY CAKESTAND 3 TIER", "VINTAGE CREAM CAKE STAND"}
    assert found["cake stand"][0] == "VINTAGE CREAM CAKE STAND"
    assert found["mugs"] == ["RED RETROSPOT MUG"]
    assert found["tier regency"][0] == "REGENCY CAKESTAND 3 TIER"
    assert found["woden"][0] == "Wooden iPad stand"
    assert found["strawbery candel"] == ["STRAWBERRY CANDLE"]
    assert found["id5"][0] == "RED RETROSPOT MUG"
    assert found["nothing like it"] == []
    assert answers["near"] == ["candle"]


def test_a_search_in_ten_thousand_items_takes_less_than_50_ms(answers):
    assert answers["searchMs"] < 50


def test_the_hash_in_javascript_is_sha_256(answers):
    assert answers["hashes"]


def test_wrong_settings_keep_the_value_of_before_with_a_line(answers):
    assert answers["settings"] == {"currency": "EUR", "k": 12}
    assert answers["trouble"] == [
        'kiosk.json: \'currency\' must be three capital letters, such as GBP, or null, got "euro"; "EUR" is in use'
    ]


def test_the_model_is_told_what_was_done_by_the_kinds_of_its_log(answers):
    # c was taken out of the basket again, and there is no kind for what was hidden.
    assert answers["history"] == [["a", "click"], ["b", "cart"]]
    assert answers["bought"] == [[["b", "order"]], 0]


def test_what_is_sold_out_is_not_on_sale_and_categories_come_from_column_or_title(answers):
    assert answers["onSale"] == [str(i) for i in range(2, len(TITLES))]
    assert answers["chips"] == ["even", "odd"]
    assert answers["nouns"] == ["stand"]


def test_twelve_languages_have_the_same_words_and_english_fills_in(answers):
    assert answers["languages"] == 12
    assert answers["wordsWithOtherGaps"] == []
    assert answers["fallback"] == "BagI am done" and answers["filled"] == "1 of {b}"
