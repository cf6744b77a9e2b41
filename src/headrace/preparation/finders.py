"""What a preparation looks for beside the profile, in the same pass: cross products, sums by category and fold, tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from headrace.accumulators.gram import Gram
from headrace.accumulators.grouped import GroupedSums
from headrace.accumulators.rowsample import RowSample
from headrace.engine.order import row_keys
from headrace.preparation.crossfit import RowHashes
from headrace.preparation.encodings import NO_TOKEN, held_tokens
from headrace.preparation.general import frame_of
from headrace.preparation.parted import PartedGram, PartedProfile, PartedSample, PartedSums, SampledRows
from headrace.preparation.plans import MISSING_WORD
from headrace.preparation.reading import read_numbers, single_array
from headrace.preparation.steps import build_recipe
from headrace.profiling.classes import NULL_CLASS, class_codes
from headrace.profiling.explorers import SampleFinder
from headrace.profiling.profile import profile_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.splits import Splitter
    from headrace.preparation.options import CategoricalOptions
    from headrace.preparation.recipes import RecipePlan

DERIVED = "prepare.derived"
"""Name of the profile of derived columns among what a survey finds."""
GRAM = "prepare.gram"
"""Name of the cross products among what a survey finds."""
SAMPLE = "prepare.sample"
"""Name of the sampled rows among what a survey finds."""
_ROWS = 1 << 15
_NEVER = {"validation", "test"}
"""Parts from which nothing is learnt."""


def counted_name(column: str, how: CategoricalOptions) -> str:
    """Name of the counts of a column among what a survey finds: the same for encodings that need the same counts."""
    if how.encode in {"tfidf", "bag_of_words"}:
        low, high = how.ngrams
        what = f"{held_tokens(how, column)} tokens {low}-{high}{' lowercase' if how.lowercase else ''}"
    else:
        by = f" in {how.folds} folds" if how.encode == "target" else ""
        what = f"{how.max_values} values{by}"
    return f"prepare.counts.{column}.{what}"


def _training(splitter: Splitter, table: pa.Table, chunk: Chunk) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the sets of rows from which may be learnt."""
    for names, codes in splitter.groupings(table, chunk):
        for code, name in enumerate(names):
            if name not in _NEVER:
                yield name, np.flatnonzero(codes == code)


@dataclass(frozen=True)
class GramFinder:
    """Measures the cross products of numbers over the training rows."""

    name: ClassVar[str] = GRAM
    finding: ClassVar[type[PartedGram]] = PartedGram
    columns: tuple[str, ...]
    splitter: Splitter

    @property
    def why(self) -> str:
        """What it costs, for people."""
        return f"cross products of {len(self.columns)} numbers"

    def find(self, table: pa.Table, chunk: Chunk) -> PartedGram:
        """Measure one chunk."""
        training = _training(self.splitter, table, chunk)
        return PartedGram({name: self._measure(table, rows) for name, rows in training})

    def _measure(self, table: pa.Table, rows: NDArray[np.int64]) -> Gram:
        found = Gram.empty(self.columns)
        for start in range(0, len(rows), _ROWS):
            taken = table.select(list(self.columns)).take(pa.array(rows[start : start + _ROWS]))
            found = found.update(np.stack([_floats(taken, name) for name in self.columns], axis=1))
        return found


@dataclass(frozen=True)
class RowFinder:
    """Keeps a bounded uniform sample of the training rows, for what cannot be learnt from sums."""

    name: ClassVar[str] = SAMPLE
    finding: ClassVar[type[PartedSample]] = PartedSample
    columns: tuple[str, ...]
    size: int
    reasons: tuple[str, ...]
    """What is learnt from it, for people."""
    splitter: Splitter
    classes: bool = False
    """Whether the target among the columns stands for classes."""

    @property
    def why(self) -> str:
        """What it costs, for people."""
        return f"a sample of up to {self.size:,} training rows for {' and for '.join(self.reasons)}"

    def find(self, table: pa.Table, chunk: Chunk) -> PartedSample:
        """Keep rows of one chunk."""
        keys = row_keys(chunk)
        sampler = SampleFinder(self.columns, self.size)
        found = {}
        for name, rows in _training(self.splitter, table, chunk):
            chosen = rows[RowSample(0, self.size).picks(keys[rows])]
            taken = table.select(list(self.columns)).take(pa.array(chosen))
            found[name] = SampledRows(self.columns, sampler.look(taken, keys[chosen]), self.classes)
        return PartedSample(found)


@dataclass(frozen=True)
class DerivedFinder:
    """Profiles the columns that are derived from others, over the training rows."""

    name: ClassVar[str] = DERIVED
    finding: ClassVar[type[PartedProfile]] = PartedProfile
    recipes: tuple[RecipePlan, ...]
    """What computes each; named as the derived column."""
    splitter: Splitter

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it looks at."""
        return tuple(dict.fromkeys(name for plan in self.recipes for name in plan.columns))

    @property
    def why(self) -> str:
        """What it costs, for people."""
        return f"a profile of {', '.join(plan.name for plan in self.recipes)}"

    def find(self, table: pa.Table, chunk: Chunk) -> PartedProfile:
        """Compute and profile one chunk."""
        made = pa.table({plan.name: _derived(plan, table) for plan in self.recipes})
        training = _training(self.splitter, table, chunk)
        return PartedProfile(
            {name: profile_table(made.take(pa.array(rows)))["all"] for name, rows in training}
        )


def _derived(plan: RecipePlan, table: pa.Table) -> pa.Array:
    if not table.num_rows:
        return pa.array([], pa.float64())
    with np.errstate(all="ignore"):
        values = build_recipe(plan).transform(frame_of(table, plan))
    return pa.array(values[:, 0], pa.float64(), from_pandas=True)


@dataclass(frozen=True)
class CountFinder:
    """Sums the target by category and fold over the training rows; without a target, counts rows.

    Sums are called ``n0`` for the rows of fold 0, ``y0|LABEL`` for those of a label, of a number ``y0|`` and of its square ``q0|``.
    """

    finding: ClassVar[type[PartedSums]] = PartedSums
    name: str
    """From `counted_name`."""
    column: str
    capacity: int
    splitter: Splitter
    target: str | None = None
    classes: bool = False
    folds: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it looks at."""
        return (self.column,) if self.target is None else (self.column, self.target)

    @property
    def why(self) -> str:
        """What it costs, for people."""
        what = "rows" if self.target is None else f"{self.target} in {self.folds} folds"
        return f"{what} by up to {self.capacity:,} values of {self.column}"

    def find(self, table: pa.Table, chunk: Chunk) -> PartedSums:
        """Look at one chunk."""
        fold = RowHashes(row_keys(chunk), self.splitter.seed).folds(self.folds)
        known, outputs = self._outputs(table)
        values = _categories(single_array(table, self.column))
        training = _training(self.splitter, table, chunk)
        return PartedSums(
            {name: self._sum(values, rows[known[rows]], fold, outputs) for name, rows in training}
        )

    def _sum(
        self,
        values: pa.Array,
        rows: NDArray[np.int64],
        fold: NDArray[np.int64],
        outputs: dict[str, NDArray[np.float64]],
    ) -> GroupedSums:
        sums: dict[str, NDArray[Any]] = {}
        for number in range(self.folds if self.target else 0):
            here = (fold[rows] == number).astype(float)
            sums[f"n{number}"] = here
            for label, y in outputs.items():
                sums[f"y{number}|{label}"] = y[rows] * here
                sums[f"q{number}|{label}"] = y[rows] ** 2 * here
        return GroupedSums.of(self.capacity, values.take(pa.array(rows)), sums)

    def _outputs(self, table: pa.Table) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
        """Tell which rows have a target, and give its numbers, or whether it is a label for each label."""
        if self.target is None:
            return np.ones(table.num_rows, bool), {}
        if not self.classes:
            y = _floats(table, self.target)
            return np.isfinite(y), {"": np.where(np.isfinite(y), y, 0.0)}
        coded = class_codes(table[self.target])
        if coded is None:  # more than 32 labels: a run is refused when its target is read
            return np.zeros(table.num_rows, bool), {}
        codes, keys = coded
        labels = {key: (codes == place).astype(float) for place, key in enumerate(keys) if key != NULL_CLASS}
        known = np.sum([*labels.values(), np.zeros(table.num_rows)], axis=0) > 0
        return known, {key: y for key, y in labels.items() if y.any()}


@dataclass(frozen=True)
class TokenFinder:
    """Counts tokens, and the texts that hold each, over the training rows, as scikit-learn's vectorisers cut them."""

    finding: ClassVar[type[PartedSums]] = PartedSums
    name: str
    """From `counted_name`."""
    column: str
    capacity: int
    splitter: Splitter
    ngrams: tuple[int, int] = (1, 1)
    lowercase: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it looks at."""
        return (self.column,)

    @property
    def why(self) -> str:
        """What it costs, for people."""
        return f"up to {self.capacity:,} tokens of {self.column}, and the texts that hold each"

    def find(self, table: pa.Table, chunk: Chunk) -> PartedSums:
        """Look at one chunk."""
        from sklearn.feature_extraction.text import CountVectorizer

        array = single_array(table, self.column)
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        analyse = CountVectorizer(ngram_range=self.ngrams, lowercase=self.lowercase).build_analyzer()
        training = _training(self.splitter, table, chunk)
        return PartedSums({name: self._count(analyse, array.take(pa.array(rows))) for name, rows in training})

    def _count(self, analyse: Callable[[str], list[str]], texts: pa.Array) -> GroupedSums:
        counts: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        for text in texts.to_pylist():
            tokens = Counter(analyse(text or ""))
            counts.update(tokens)
            documents.update(tokens.keys())
        return GroupedSums.of_codes(
            self.capacity,
            # The first stands for the texts, so that their number is a total like any other.
            pa.array([NO_TOKEN, *counts], pa.large_string()),
            np.arange(len(counts) + 1),
            {
                "documents": np.array([0, *(documents[token] for token in counts)], dtype=float),
                "texts": np.array([len(texts), *([0] * len(counts))], dtype=float),
            },
            weights=np.array([len(texts), *counts.values()], dtype=np.int64),
        )


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    values, mask = read_numbers(single_array(table, name), name)
    numbers = values.astype(np.float64)
    return numbers if mask is None else np.where(mask, np.nan, numbers)


def _categories(values: pa.Array) -> pa.Array:
    """Strings with the word for missing ones, as the model sees them; numbers without the missing ones."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if (
        pa.types.is_string(values.type)
        or pa.types.is_large_string(values.type)
        or pa.types.is_string_view(values.type)
    ):
        return values.cast(pa.large_string()).fill_null(MISSING_WORD)
    values = values.cast(pa.float64(), safe=False)
    numbers = values.to_numpy(zero_copy_only=False)
    return pa.array(numbers, from_pandas=True)
