"""How a column of times is read: decided over all values, one meaning, or a question."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.data.times import read_times, time_ms
from edgerec.errors import DataError


def read(values, kept=None, ask=True):
    frame = pl.LazyFrame({"t": values})
    times = read_times(frame, pl.col("t"), "UTC", "t", kept, ask)
    return times, frame.select(times.ms).collect().to_series().to_list()


def ms(*parts):
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


def test_one_value_that_fits_only_day_first_decides_the_column_however_late_it_comes():
    times, values = read(["03/05/2024"] * 12_000 + ["31/05/2024"])

    assert times.format == "%d/%m/%Y"
    assert values[0] == ms(2024, 5, 3)


def test_where_two_orders_fit_every_row_it_asks():
    with pytest.raises(DataError, match=r"'03/05/2024' may be 3 May 2024 or 5 March 2024.*set time_format = "):
        read(["03/05/2024", "04/05/2024"])


def test_a_day_that_is_its_month_is_no_question():
    assert read(["05/05/2024"])[1] == [ms(2024, 5, 5)]


def test_a_kept_format_reads_a_file_that_alone_would_be_read_otherwise():
    assert read(["03/05/2024", "12/31/2024"], kept="%d/%m/%Y")[1] == [ms(2024, 5, 3), None]


@pytest.mark.parametrize("values", [["03012024", "13012024"], [3012024, 13012024]])
def test_a_kept_format_reads_digits_with_and_without_the_zero_in_front(values):
    assert read(values, kept="%d%m%Y")[1] == [ms(2024, 1, 3), ms(2024, 1, 13)]


def test_a_kept_format_goes_before_an_epoch_and_may_end_at_the_hour():
    assert read(["2024010309"], kept="%Y%m%d%H")[1] == [ms(2024, 1, 3, 9)]
    assert read(["2024-01-03 9 PM"], kept="%Y-%m-%d %I %p")[1] == [ms(2024, 1, 3, 21)]


def test_ten_digits_that_are_dates_and_as_an_epoch_of_the_future_are_dates():
    assert read([2024010309])[1] == [ms(2024, 1, 3, 9)]
    assert read(["2401030959"])[1] == [ms(2024, 1, 3, 9, 59)]
    assert read([1704275950])[0].format == "seconds"


def test_ten_digits_that_may_be_a_date_or_an_epoch_are_a_question():
    with pytest.raises(DataError, match=r"1401030959 may be 3 January 2014 or 25 May 2014.*time_format = "):
        read([1401030959])


def test_ticks_of_dotnet_are_no_nanoseconds_of_1990():
    times, values = read([638_398_727_500_000_000])

    assert (times.format, values) == ("ticks", [ms(2024, 1, 3, 9, 59, 10)])


def test_a_column_with_both_orders_of_day_and_month_is_refused_and_a_single_slip_is_not():
    both = ["03/01/2024"] * 50 + ["13/01/2024"] * 25 + ["01/14/2024"] * 25
    with pytest.raises(DataError, match=r"'13/01/2024'.*different orders \(25 rows fit only the first, 25 only"):
        read(both)
    assert read(["01/14/2024"] * 500 + ["31/01/2024"])[0].format == "%m/%d/%Y"


def test_months_are_read_in_several_languages():
    values = read(["03 abr 2024", "1 de enero de 2024", "3. Januar 2024 09:59", "3 décembre 2024", "2 May 2024"])[1]

    assert values == [ms(2024, 4, 3), ms(2024, 1, 1), ms(2024, 1, 3, 9, 59), ms(2024, 12, 3), ms(2024, 5, 2)]


def test_a_kept_format_does_not_forbid_forms_that_cannot_be_mistaken():
    values = read(["2024-05-03", "03/05/2024 10:00", "x"], kept="%d/%m/%Y")[1]

    assert values == [ms(2024, 5, 3), ms(2024, 5, 3, 10), None]
    assert read([ms(2024, 5, 3)], kept="%d/%m/%Y")[1] == [ms(2024, 5, 3)]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("05/31/2024 1:05 PM", (2024, 5, 31, 13, 5)),
        ("05/31/2024 12:00:01 AM", (2024, 5, 31, 0, 0, 1)),
        ("2024-05-31 18:30:00 UTC", (2024, 5, 31, 18, 30)),
        ("2024-05-31T10:00", (2024, 5, 31, 10)),
        ("2024-05-31T10:00:00.500+02:00", (2024, 5, 31, 8, 0, 0, 500_000)),
        ("Fri, 31 May 2024 10:00:00 +0200", (2024, 5, 31, 8)),
        ("Fri, 31 May 2024 10:00:00 GMT", (2024, 5, 31, 10)),
        ("Fri May 31 10:00:00 +0000 2024", (2024, 5, 31, 10)),
        ("31-12-2020", (2020, 12, 31)),
        ("31.12.2020 7:05", (2020, 12, 31, 7, 5)),
        ("2020/12/31", (2020, 12, 31)),
        ("31 May 2024", (2024, 5, 31)),
        ("May 31, 2024", (2024, 5, 31)),
        ("31-May-2024", (2024, 5, 31)),
        ("31-MAY-24", (2024, 5, 31)),
        ("5/31/24", (2024, 5, 31)),
        ("20240531", (2024, 5, 31)),
        ("20240531T101112", (2024, 5, 31, 10, 11, 12)),
        ("20240531101112", (2024, 5, 31, 10, 11, 12)),
        ("1717149600.25", (2024, 5, 31, 10, 0, 0, 250_000)),
    ],
)
def test_times_are_read_in_the_forms_of_public_logs(text, time):
    assert read([text])[1] == [ms(*time)]


def test_a_form_that_begins_late_is_read_too():
    assert read(["2024-05-31"] * 5_000 + ["2024-05-31 10:00:00"])[1][-1] == ms(2024, 5, 31, 10)


def test_units_mixed_in_one_column_are_told_by_their_size_and_counted():
    second = ms(2024, 5, 31) // 1000
    times, values = read([second * 1000, second * 1000, second, 0, 9 * 10**18])

    assert values[:4] == [second * 1000] * 3 + [0]
    assert not 0 < values[4] < ms(2100, 1, 1)
    assert "of 5 times 1 in seconds" in times.note


@given(st.lists(st.integers(ms(1991, 1, 1) // 1000, ms(2099, 1, 1) // 1000), min_size=1))
@settings(max_examples=25, deadline=None)
def test_every_unit_gives_the_same_times(seconds):
    seconds += [1_700_000_000] * len(seconds)  # a few numbers alone may look like dates, such as 2401030959
    expected = [s * 1000 for s in seconds]
    for factor in (1, 1_000, 1_000_000, 1_000_000_000):
        assert read([s * factor for s in seconds])[1] == expected
        assert read([str(s * factor) for s in seconds])[1] == expected


@given(st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)), min_size=1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_kept_format_gives_back_what_it_wrote(times, day_first):
    form = "%d/%m/%Y %H:%M" if day_first else "%m/%d/%Y %H:%M"
    times = [time.replace(second=0, microsecond=0) for time in times]

    assert read([time.strftime(form) for time in times], kept=form)[1] == [ms(*time.timetuple()[:6]) for time in times]


def test_an_order_becomes_times_in_this_order():
    assert read([3, 1, 2], kept="order")[1] == [ms(2000, 1, 1, 0, m) for m in (3, 1, 2)]
    assert read(["2", "1"], kept="days")[1] == [ms(2000, 1, 3), ms(2000, 1, 2)]
    with pytest.raises(DataError, match='only an order, set time_format = "order"'):
        read([1, 2, 3])


def test_a_spreadsheets_days_are_read_where_somebody_says_so_and_else_refused_with_the_date_that_they_may_be():
    days = [44197.0, 44197.5, 44227.25]
    found = [ms(2021, 1, 1), ms(2021, 1, 1, 12), ms(2021, 1, 31, 6)]
    assert read(days, kept="excel")[1] == found
    assert read([str(day) for day in days], kept="excel")[1] == found
    assert read([44197.70833333], kept="excel")[1] == [ms(2021, 1, 1, 17)]
    with pytest.raises(
        DataError, match=r"44197.5 may be a spreadsheet's day, 1 January 2021; if it is, .* = \"excel\""
    ):
        read([44197.5, 44198.25])
    for first in (None, float("nan")):
        with pytest.raises(DataError, match=r"44197.5 may be a spreadsheet's day, 1 January 2021"):
            read([first, 44197.5, 44198.25, 44199.25] * 9)
    with pytest.raises(DataError, match='only an order, set time_format = "order"'):
        read([19.5, 12.25])


def test_what_is_no_time_is_quoted():
    with pytest.raises(DataError, match="'soon' is not a time; expected dates such as"):
        read(["soon", "later"])


def test_a_sample_is_read_without_a_question():
    assert time_ms(pl.col("t"), pl.Series(["03/05/2024"]), "UTC", "t")[1] == "text as %d/%m/%Y"
