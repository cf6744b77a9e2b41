from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ingesting.moments import convert, parse, pattern_of

FORMATS = (
    "%d/%m/%Y",
    "%Y-%m-%d %H:%M:%S",
    "%b %d, %Y",
    "%d %B %Y",
    "%m/%d/%y %I:%M %p",
    "%Y-%m-%dT%H:%M:%S.%f",
)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 on the clock that wrote it
LATEST = datetime(2068, 12, 31)  # noqa: DTZ001 as above


@given(
    st.lists(st.datetimes(EPOCH, LATEST), min_size=1, max_size=20),
    st.sampled_from(FORMATS),
)
def test_what_python_writes_is_read_as_python_reads_it(moments: list[datetime], text: str):
    written = [moment.strftime(text) for moment in moments]
    value, understood = parse(pa.array(written), text)
    assert understood.all()
    expected = [datetime.strptime(one, text) - EPOCH for one in written]  # noqa: DTZ007 as above
    assert value.tolist() == [
        int(delta.total_seconds()) * 1_000_000 + delta.microseconds for delta in expected
    ]


@pytest.mark.parametrize(
    "text", ["31/02/2024", "29/02/2023", "00/01/2024", "1/13/2024", "1/1/24", "1/1/2024x", ""]
)
def test_days_that_there_are_not_are_not_understood(text: str):
    assert not parse(pa.array([text]), "%d/%m/%Y")[1].any()


def test_leap_days_are_as_in_the_calendar():
    _, understood = parse(pa.array([f"29/02/{year}" for year in (1900, 2000, 2023, 2024)]), "%d/%m/%Y")
    assert understood.tolist() == [False, True, False, True]


def test_first_format_that_fits_is_taken():
    value, understood = convert(
        pa.array(["01/02/2024", "2024-02-01", None, "soon"]), ("%d/%m/%Y", "%Y-%m-%d")
    )
    assert understood.tolist() == [True, True, False, False]
    assert value[0] == value[1] == np.datetime64("2024-02-01", "us").astype(int)


@pytest.mark.parametrize(
    ("text", "said"),
    [("%Q-%m-%d", "%Q"), ("%m-%d", "%Y %y"), ("%Y-%m-%d %I", "only one"), ("%Y-%m-%m-%d", "needs one")],
)
def test_format_that_cannot_be_is_told(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        pattern_of(text)
