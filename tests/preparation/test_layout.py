"""Where each feature stands, and when a matrix is sparse."""

from __future__ import annotations

import pyarrow as pa


def test_numbers_that_trade_places_stand_next_to_their_indicators(prepare):
    gaps = [None, 1.0, 2.0, 5.0]
    table = pa.table({"a": gaps, "b": [1.0, 2.0, 3.0, 5.0], "c": gaps, "d": gaps, "w": ["u", "v"] * 2})
    p = prepare(table, columns={"c": {"fill_value": 9}}, categorical={"min_frequency": 1})
    assert p.names_out == (
        "b", "c", "a", "d", "missingindicator_a", "missingindicator_d", "missingindicator_c", "w_u", "w_v",
    )  # fmt: skip


def test_a_matrix_is_sparse_when_less_than_a_quarter_of_a_row_is_stored(prepare):
    for categories, sparse in ((4, False), (5, True)):
        table = pa.table({"w": [f"w{i % categories}" for i in range(60)]})
        layout = prepare(table).layout
        assert (layout.width, layout.nnz_per_row, layout.sparse) == (categories, 1, sparse)


def test_columns_with_equal_settings_share_a_transformer(prepare):
    table = pa.table({name: [1.0, 2.0, 4.0] for name in "abc"})
    groups = prepare(table, columns={"b": {"scale": "minmax"}}).layout.groups
    assert [(group.name, group.start, group.names) for group in groups] == [
        ("numbers", 0, ("a", "c")),
        ("numbers_2", 2, ("b",)),
    ]


def test_features_of_a_column_are_those_that_bear_its_name(prepare):
    gaps = [None, 1.0, 2.0, 5.0]
    table = pa.table({"a": gaps, "b": [1.0, 2.0, 3.0, 5.0], "c": gaps, "w": ["u", "v"] * 2})
    layout = prepare(
        table,
        columns={"b": {"expand": {"method": "powers", "degree": 2}}},
        categorical={"min_frequency": 1},
        interact=[{"columns": ["a", "c"]}],
    ).layout
    found = {name: [layout.names[place] for place in layout.features_of(name)] for name in "abcw"}
    assert found == {
        "a": ["a", "missingindicator_a"],
        "b": [name for name in layout.names if name.startswith("b")],
        "c": ["c", "missingindicator_c"],
        "w": ["w_u", "w_v"],
    }
    assert len(found["b"]) == 2
