"""Values of too few rows are in no profile, whatever the parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from headrace.accumulators import merge_tree
from headrace.cli import run
from headrace.profiling.profile import Profile, profile_table
from headrace.profiling.withholding import withhold

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

cells = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=60)


@given(cells, st.integers(1, 12), st.data())
def test_what_is_told_is_held_by_k_rows(values: list[str | None], k: int, data: st.DataObject) -> None:
    part = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values))), np.uint8
    )
    table = pa.table({"x": pa.array(values, pa.string()), "n": [len(value or "") for value in values]})
    found = profile_table(table, part=part, parts=("one", "two"))
    whole = merge_tree(list(found.values()), Profile.merge)
    told = withhold(found, whole, k)
    merged = merge_tree(list(told.values()), Profile.merge)
    counts = {value: values.count(value) for value in set(values) if value is not None}
    assert dict(merged.columns["x"].top()) == {value: n for value, n in counts.items() if n >= k}
    hidden = [n for n in counts.values() if n < k]
    assert merged.columns["x"].overall.hitters.error >= max(hidden, default=0)
    assert merged.columns["x"].overall.hitters.exact == (not hidden)
    assert merged.columns["x"].overall.missing == values.count(None)
    assert Profile.from_json(merged.to_json()).columns["x"].top() == merged.columns["x"].top()
    assert withhold(found, whole, k, but="x")["one"].columns["x"].top() == found["one"].columns["x"].top()


def test_profile_and_page_hint_and_withhold(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = 90
    table = pa.table(
        {
            "contact": [f"p{i}@example.org" for i in range(rows)],
            "town": ["Ulm" if i > 4 else f"hamlet{i}" for i in range(rows)],
            "paid_with": [
                4111111111111111,
                5500005555555559,
                340000000000009,
                30000000000004,
                4111111111111111,
            ]
            * 18,
            "y": [i % 2 for i in range(rows)],
        }
    )
    pq.write_table(table, in_tmp / "data.parquet")
    assert run(["profile", "data.parquet", "--k-minimum", "5", "--html", "page.html", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (
        "contact (a value looks like an e-mail address), paid_with (its values look like card numbers)" in err
    )
    for text in (
        json.dumps(document),
        (in_tmp / "profile.json").read_text(),
        (in_tmp / "page.html").read_text(),
    ):
        assert "hamlet" not in text
        assert "@example.org" not in text
        assert "Ulm" in text
    assert run(["init", "data.parquet", "--target", "y", "-o", "flow.yaml"]) == 0
    assert "#     contact: drop" in (in_tmp / "flow.yaml").read_text()
    capsys.readouterr()
    run(["check", "data.parquet", "--json"])
    assert "contact" in json.loads(capsys.readouterr().out)["personal"]
