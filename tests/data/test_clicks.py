from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.data import clicks

ROWS = 100_000


def _draw(seed: int = 0, index: int = 0, rows: int = ROWS) -> tuple[dict[str, np.ndarray], np.ndarray]:
    table, probability = clicks.draw_group(seed, index, rows)
    return {name: table[name].to_numpy() for name in table.column_names}, probability


def test_the_columns_are_those_of_the_design() -> None:
    table, _ = clicks.draw_group(0, 0, 20_000)
    assert table.num_columns == 18
    missing = [name for name in table.column_names if table[name].null_count]
    assert len(missing) == 4
    for name in missing:
        assert table[name].null_count == pytest.approx(1000, abs=150)
    assert [len(table[column.name].unique()) for column in clicks.CATEGORIES] == [265, 20, 50, 4]
    assert np.all(np.diff(table["time"].to_numpy().astype(np.int64)) > 0)
    assert set(table["click"].to_pylist()) == {0, 1}


def test_time_goes_on_from_one_row_group_to_the_next() -> None:
    first, _ = clicks.draw_group(0, 0, clicks.ROWS_A_GROUP)
    second, _ = clicks.draw_group(0, 1, 1)
    assert first["time"][-1].as_py() < second["time"][0].as_py()


def test_fewer_rows_are_the_first_of_more() -> None:
    assert clicks.draw_group(3, 2, 500)[0].equals(clicks.draw_group(3, 2, 900)[0].slice(0, 500))
    assert not clicks.draw_group(3, 2, 500)[0].equals(clicks.draw_group(4, 2, 500)[0])
    assert not clicks.draw_group(3, 2, 500)[0].equals(clicks.draw_group(3, 1, 500)[0])


def test_moments_are_those_that_the_truth_is_scaled_with() -> None:
    groups = [clicks.draw_group(1, index, ROWS)[0] for index in range(4)]
    for column in clicks.NUMERICS:
        values = np.concatenate([group[column.name].to_numpy() for group in groups])
        if column.effect and not column.drift:
            assert np.nanmean(values) == pytest.approx(column.mean, abs=0.02 * column.deviation)
            assert np.nanstd(values) == pytest.approx(column.deviation, rel=0.02)


def test_the_truth_is_linear_in_what_a_plain_pipeline_makes_of_the_columns() -> None:
    columns, probability = _draw(rows=20_000)
    parts = [np.ones(20_000)]
    for numeric in clicks.NUMERICS:
        values = columns[numeric.name].astype(np.float64)
        parts += [np.nan_to_num(values, nan=numeric.mean), np.isnan(values).astype(np.float64)]
    for category in clicks.CATEGORIES:
        parts += [columns[category.name] == value for value in category.values]
    matrix = np.column_stack(parts).astype(np.float64)
    matrix /= np.maximum(np.abs(matrix).max(axis=0), 1e-9)
    logit = np.log(probability / (1 - probability))
    coefficients, *_ = np.linalg.lstsq(matrix, logit, rcond=None)
    assert np.abs(matrix @ coefficients - logit).max() < 1e-6


def test_labels_follow_the_true_probabilities() -> None:
    columns, probability = _draw()
    click = columns["click"]
    assert 0.2 < click.mean() < 0.3
    order = np.argsort(probability)
    for decile in np.array_split(order, 10):
        expected = probability[decile].mean()
        assert click[decile].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / len(decile)))


def test_the_stated_auc_is_that_of_the_truth_against_labels() -> None:
    from sklearn.metrics import roc_auc_score

    columns, probability = _draw()
    stated = clicks.expected_auc(probability)
    assert 0.75 < stated < 0.81
    assert roc_auc_score(columns["click"], probability) == pytest.approx(stated, abs=0.006)


def test_row_groups_drift_and_files_do_not() -> None:
    def mean(index: int) -> float:
        return float(np.nanmean(_draw(index=index)[0]["relevance"]))

    assert abs(mean(0) - mean(2)) > 0.2
    assert mean(0) == pytest.approx(mean(4), abs=0.02)


@given(arrays(np.float64, st.integers(1, 12), elements=st.sampled_from([0.1, 0.25, 0.5, 0.9])))
@settings(max_examples=50, deadline=None)
def test_expected_auc_is_its_formula(probability: np.ndarray) -> None:
    p, q = probability[:, None], 1 - probability[None, :]
    wins = (p > probability) + 0.5 * (p == probability)
    assert clicks.expected_auc(probability) == pytest.approx((p * q * wins).sum() / (p * q).sum())
