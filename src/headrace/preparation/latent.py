"""Texts as few numbers (latent semantic analysis): singular vectors of weighted tokens, from their products in a pass of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.accumulators.crossproducts import CrossProducts
from headrace.errors import WorkflowError
from headrace.preparation.defaults import plan_column
from headrace.preparation.encodings import reduced_width
from headrace.preparation.finders import counted_name
from headrace.preparation.general import frame_of
from headrace.preparation.needs import encoding_of
from headrace.preparation.recipes import RecipePlan, Step
from headrace.preparation.steps import build_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.splits import Splitter
    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import Profile

LATENT = "prepare.latent"
"""Name of the products of tokens among what is found for a preparation."""
_ROWS = 1 << 14


@dataclass(frozen=True)
class TokenProducts:
    """Cross products of weighted tokens, by `digest_of` the recipe that weighs them."""

    parts: dict[str, CrossProducts]

    def merge(self, other: Self) -> Self:
        """Return the products of both sets of rows."""
        return type(self)({key: mine.merge(other.parts[key]) for key, mine in self.parts.items()})

    def of_rows(self, _names: Sequence[str]) -> Self:
        """Return all: of which rows products are is told by the recipe that was learnt from the same rows."""
        return self

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything held, as plain arrays."""
        return {
            f"{key}.{name}": array
            for key, part in self.parts.items()
            for name, array in part.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from `arrays`."""
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            key, _, field = name.partition(".")
            parts.setdefault(key, {})[field] = array
        return cls({key: CrossProducts.from_arrays(part) for key, part in parts.items()})


@dataclass(frozen=True)
class Weighed:
    """A text whose tokens are weighed and not reduced yet."""

    recipe: RecipePlan
    names: tuple[str, ...]
    """Sets of rows that it is learnt from, by the names of `Splitter.groupings`."""


@dataclass(frozen=True)
class TokenPass:
    """Measures one chunk of the pass: each text as each fold weighs it, over the rows that the fold learns from."""

    texts: tuple[Weighed, ...]
    splitter: Splitter

    def __call__(self, table: pa.Table, chunk: Chunk) -> TokenProducts:
        """Measure one chunk."""
        groupings = self.splitter.groupings(table, chunk)
        found = {}
        for text in self.texts:
            names, codes = next(each for each in groupings if set(text.names) <= set(each[0]))
            rows = np.flatnonzero(np.isin(codes, [names.index(name) for name in text.names]))
            found[digest_of(text.recipe)] = _products(table, rows, text.recipe)
        return TokenProducts(found)


def _products(table: pa.Table, rows: NDArray[np.int64], recipe: RecipePlan) -> CrossProducts:
    pipeline = build_recipe(recipe)
    found = CrossProducts.empty(len(recipe.names))
    for start in range(0, len(rows), _ROWS):
        taken = table.select(list(recipe.columns)).take(pa.array(rows[start : start + _ROWS]))
        found = found.update(pipeline.transform(frame_of(taken, recipe)))
    return found


def digest_of(recipe: RecipePlan) -> str:
    """SHA-256 of a recipe."""
    return hashlib.sha256(json.dumps(recipe.held(), allow_nan=False, sort_keys=True).encode()).hexdigest()


def weighed_texts(
    profile: Profile,
    options: PrepareOptions,
    features: Sequence[str],
    found: Mapping[str, Any],
    names: tuple[str, ...],
) -> tuple[Weighed, ...]:
    """Learn the texts that are to be reduced as far as that goes without their products.

    Parameters
    ----------
    profile : Profile
    options : PrepareOptions
    features : sequence of str
        Columns that may become features.
    found : mapping of str
        What the finders of `headrace.preparation.needs.finders_of` found in the same rows.
    names : tuple of str
        Sets of rows that these are.
    """
    texts = []
    for name in features:
        column = profile.columns[name]
        how = encoding_of(options, name, column.kind)
        if how is None or reduced_width(how, name) is None or options.columns.get(name) == "drop":
            continue
        planned = plan_column(column, options, found.get(counted_name(name, how)))
        if isinstance(planned, tuple):
            texts += [Weighed(plan, names) for plan in planned if isinstance(plan, RecipePlan)]
    return tuple(texts)


def fit_latent(recipe: RecipePlan, components: int, found: TokenProducts | None) -> RecipePlan:
    r"""Put the projections on the first right singular vectors in place of weighted tokens.

    Latent semantic analysis (Deerwester and others 1990), as `sklearn.decomposition.TruncatedSVD`: with the products
    :math:`X^T X = C + n \mu \mu^T` of centred products C and means :math:`\mu`, the vectors are its eigenvectors of the largest
    eigenvalues :math:`\sigma^2`; exact, where a randomised solver is near. The largest entry of each is positive.

    Parameters
    ----------
    recipe : RecipePlan
        Of weighted tokens.
    components : int
        How many; all when there are fewer tokens.
    found : TokenProducts or None

    Raises
    ------
    WorkflowError
        When the products of this very recipe were not measured.
    """
    from scipy.linalg import eigh

    products = None if found is None else found.parts.get(digest_of(recipe))
    if products is None:
        raise WorkflowError(
            f"components of {recipe.name!r} need products of its tokens, in a pass that is taken only when the workflow's own "
            "prepare: asks for it",
            where="prepare",
            mend="say it in prepare:, not in what candidates vary",
        )
    n, d = float(products.weight[0]), products.width
    count = min(components, d)
    mean, scatter = products.mean[0], products.products
    values, vectors = eigh(scatter + n * np.outer(mean, mean), subset_by_index=(d - count, d - 1))
    vectors = vectors[:, ::-1].T
    vectors *= np.sign(vectors[np.arange(count), np.abs(vectors).argmax(axis=1)])[:, None]
    variance = np.einsum("ij,jk,ik->i", vectors, scatter, vectors, optimize=True) / max(n, 1.0)
    ratio = variance / max(float(np.trace(scatter)) / max(n, 1.0), np.finfo(float).tiny)
    learnt = {
        "components": vectors.tolist(),
        "singular": np.sqrt(np.maximum(values[::-1], 0.0)).tolist(),
        "variance": variance.tolist(),
        "ratio": ratio.tolist(),
    }
    told = f"{count} singular vectors of {d:,} tokens, {ratio.sum():.1%} of the variance"
    names = tuple(f"{recipe.name}_svd{number}" for number in range(count))
    steps = (*recipe.steps, Step("svd", learnt, told))
    return replace(recipe, steps=steps, names=names, stored=count, sparse=False)
