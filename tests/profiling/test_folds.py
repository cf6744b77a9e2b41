"""What a fold learns from is the merge of its cells, and nothing of the rows that judge it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from headrace.data.chunks import Chunk, Piece
from headrace.engine.folds import RowFolds, StratifiedFolds, TimeFolds
from headrace.engine.splits import Splitter
from headrace.preparation.fitted import fit_preparation
from headrace.preparation.options import CategoricalOptions, PrepareOptions
from headrace.profiling.folds import fold_profiles, part_rows, training_profile, validation_rows
from headrace.profiling.profile import Profile, merge_profiles, profile_table

if TYPE_CHECKING:
    from headrace.engine.folds import Folds

ROWS = 600


def chunk_of(number: int) -> Chunk:
    piece = Piece("a", "a", (number,), ROWS, number * ROWS, ())
    return Chunk(number, (piece,), ROWS, 0, 0)


def table_of(number: int, splitter: Splitter) -> pa.Table:
    """Rows of which each knows its fold: a value that occurs in the validation rows of one fold alone."""
    rng = np.random.default_rng(number)
    when = pa.array(np.arange(ROWS) + number * ROWS, pa.timestamp("s"))
    y = pa.array(rng.integers(0, 2, ROWS))
    bare = pa.table({"x": rng.normal(size=ROWS), "when": when, "y": y})
    (cells, *_) = splitter.cells(bare, chunk_of(number))
    return bare.append_column("tell", pa.array([f"cell {cell}" for cell in cells], pa.string()))


@pytest.mark.parametrize(
    "folds",
    [RowFolds(4), RowFolds(3, 2), StratifiedFolds("y", 3), TimeFolds("when", (600, 900, 1500), gap=60)],
)
def test_a_fold_is_profiled_and_prepared_from_its_training_rows_alone(folds: Folds) -> None:
    splitter = Splitter(seed=3, test=0.2, folds=folds)
    chunks = [chunk_of(number) for number in range(3)]
    tables = [table_of(number, splitter) for number in range(3)]
    profiles: dict[str, Profile] | None = None
    for table, chunk in zip(tables, chunks, strict=True):
        found: dict[str, Profile] = {}
        for names, codes in splitter.groupings(table, chunk):
            found |= profile_table(table, target="y", part=codes, parts=names)
        profiles = found if profiles is None else merge_profiles(profiles, found)
    assert profiles is not None
    cells = [splitter.cells(table, chunk) for table, chunk in zip(tables, chunks, strict=True)]
    judged = validation_rows(profiles, splitter)
    options = PrepareOptions(categorical=CategoricalOptions(min_frequency=1))
    for fold, profile, rows in zip(folds.folds, fold_profiles(profiles, splitter), judged, strict=True):
        masks = [np.isin(each[fold.repeat], fold.train) for each in cells]
        whole = pa.concat_tables(
            [table.filter(pa.array(mask)) for table, mask in zip(tables, masks, strict=True)]
        )
        plain = profile_table(whole, target="y")["all"]
        assert (profile.rows, profile.classes) == (plain.rows, plain.classes)
        assert rows == sum(int(np.isin(each[fold.repeat], fold.validation).sum()) for each in cells)
        mine, theirs = profile.columns["x"].overall, plain.columns["x"].overall
        assert mine.moments is not None
        assert theirs.moments is not None
        assert mine.moments.mean == pytest.approx(theirs.moments.mean, rel=1e-12)
        assert (mine.moments.minimum, mine.moments.maximum) == (
            theirs.moments.minimum,
            theirs.moments.maximum,
        )
        assert dict(profile.columns["tell"].top(99)) == dict(plain.columns["tell"].top(99))
        if fold.repeat == 0:
            features = fit_preparation(profile, options, features=["x", "tell"]).names_out
            assert not [
                name for name in features for cell in fold.validation if name.endswith(f"cell {cell}")
            ]
    learnable = training_profile(profiles, splitter)
    assert learnable.rows + profiles["test"].rows == 3 * ROWS
    assert part_rows(profiles, splitter)["test"] == profiles["test"].rows
