"""A preparation of an earlier run serves a later one only while it has a place for all of its values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.accumulators.crossproducts import CrossProducts
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.training.exact_refit import refit_map
from headrace.training.references import keep_reference, recall_reference, refit_maps, serves

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(3)
WORDS = ["a"] * 60 + ["b"] * 30 + ["c"] * 20


def made(words: list[str]) -> pa.Table:
    x = RNG.normal(5, 2, len(words))
    x[::7] = np.nan
    return pa.table({"word": words, "x": pa.array(x, from_pandas=True)})


def prepared(table: pa.Table) -> Preparation:
    return fit_preparation(profile_table(table)["all"], PrepareOptions(), features=["word", "x"])


def dense(preparation: Preparation, table: pa.Table) -> Any:
    X: Any = CompiledPreparation(preparation).transform(table, np.float64)
    return X if isinstance(X, np.ndarray) else X.toarray()


def test_products_in_terms_of_an_earlier_one_are_those_of_the_rows_of_now() -> None:
    old, new = made(WORDS), made(WORDS[3:])
    earlier, now = prepared(old), prepared(new)
    assert serves(earlier, now)
    found = refit_maps(earlier, [now], profile_table(new)["all"])
    assert found is not None
    assert found[0] == ()  # an indicator is a feature already
    ((matrix, offset),) = found[1]
    mapped = CrossProducts.of(dense(earlier, new)).mapped(matrix, offset)
    expected = CrossProducts.of(dense(now, new))
    np.testing.assert_allclose(mapped.products, expected.products, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mapped.mean, expected.mean, rtol=1e-9, atol=1e-9)


def test_values_that_the_earlier_one_has_no_place_for_need_another() -> None:
    earlier = prepared(made(WORDS))
    rare = prepared(made([*WORDS, "new"]))
    assert not serves(earlier, rare)  # linear as a map, and wrong of the row that is new
    assert refit_map(earlier, rare, ()) is not None
    assert serves(rare, prepared(made([*WORDS, "newer"])))
    frequent = prepared(made([*WORDS, *["new"] * 20]))
    assert refit_maps(earlier, [frequent], profile_table(made(WORDS))["all"]) is None
    numbers = Preparation(tuple(plan for plan in rare.columns if plan.name != "word"))
    assert not serves(numbers, rare)


def test_it_is_kept_by_its_settings_and_recalled_whole_or_not_at_all(tmp_path: Path) -> None:
    url, one, other = str(tmp_path / "kept"), prepared(made(WORDS)), prepared(made(WORDS[5:]))
    assert recall_reference(url, "settings") is None
    keep_reference(url, "settings", one)
    assert recall_reference(url, "settings") == one
    assert recall_reference(url, "others") is None
    keep_reference(url, "settings", other)
    assert recall_reference(url, "settings") == replace(other)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert recall_reference(url, "settings") is None
