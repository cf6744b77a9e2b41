"""Candidates that are fitted outright, for every fold at once: exact ones in one pass, generalised ones in a few, trees, k-means."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.events import Note
from headrace.engine.folds import Fold
from headrace.errors import RunError
from headrace.training.board import Fitted
from headrace.training.candidates import build
from headrace.training.certainty import of_curvature, of_dispersion, of_least_squares, of_scores
from headrace.training.clusterers import KMEANS
from headrace.training.dask_models import DASK_MODELS
from headrace.training.dask_solving import DaskProblem, solve_by_dask
from headrace.training.deadline import NO_TIME, never
from headrace.training.exact import Measurement, fit_exact, measure_products
from headrace.training.generalised import minimise, scatter_scores
from headrace.training.generalised_losses import MODELS, Gamma, stages_of, told
from headrace.training.generalised_sums import Problem
from headrace.training.kmeans import Clustering, Way, find_centres, require_room, told_centres
from headrace.training.routes import TREES, is_exact
from headrace.training.sweeps import LEARNT, ViewRows
from headrace.training.trees import fit_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.accumulators.crossproducts import CrossProducts
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.blocks import BlockMaker, Recipe
    from headrace.training.candidates import Candidate
    from headrace.training.certainty import Certainty
    from headrace.training.generalised import Solution

LEAST_SQUARES = "sklearn.linear_model.LinearRegression"
ONE_FOLD = Fold("all", 0, LEARNT, ())
"""Of rows that are prepared for one fold alone."""


@dataclass(frozen=True)
class Refit:
    """Preparations of all folds, or of the only one, as linear maps of one, so that rows are prepared once.

    Attributes
    ----------
    recipe : Recipe
        Learnt from all rows that may be learnt from, now or by an earlier run.
    masks : tuple of str
        From `headrace.training.exact_refit.carried`.
    maps : tuple of (ndarray, ndarray)
        From `headrace.training.exact_refit.refit_map`, one a fold.
    """

    recipe: Recipe
    masks: tuple[str, ...]
    maps: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    earlier: bool = False
    """Whether an earlier run has learnt it."""


@dataclass(frozen=True)
class Outcome:
    """What is known of the target before a pass over it: where steps begin and on which scale they are small."""

    mean: float = 0.0
    spread: float = 1.0
    rows: int = 1
    """That may be learnt from."""


@dataclass
class Direct:
    """Fits candidates to all rows at once.

    Parameters
    ----------
    reader : Reader
        Runs the passes and counts them.
    source : Source
        The chunks.
    maker : BlockMaker
        Prepares the rows, for one fold or several.
    outcome : Outcome
        Of the target.
    refits : mapping of int to Refit
        By variant, where the preparations of its folds follow from one another.
    name : str
        Begins the names of its passes.
    rounds : mapping of str to int
        Trees that are grown, by name, where no row judges when to stop.
    lanes : int
        Tasks that grow trees together.
    late : callable
        Tells whether there is no time for another pass. Some candidates are fitted all the same.
    remembered : str, optional
        URL of products of chunks, kept where preparations follow from one another.
    """

    reader: Reader
    source: Source
    maker: BlockMaker
    outcome: Outcome = Outcome()
    refits: Mapping[int, Refit] = field(default_factory=dict)
    name: str = ""
    rounds: Mapping[str, int] = field(default_factory=dict)
    lanes: int = 1
    late: Callable[[], bool] = never
    remembered: str | None = None

    failures: dict[str, str] = field(default_factory=dict, init=False)
    """Why a candidate could not be fitted, by name."""

    def __post_init__(self) -> None:
        self.classes = np.asarray(self.maker.target.classes)
        self.folds = max(1, len(self.maker.folds))

    def fit(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        """Fit every candidate in every fold.

        Parameters
        ----------
        candidates : sequence of (Candidate, int)
            With the variant that each sees.

        Returns
        -------
        dict of str to tuple of Fitted
            By name, one a fold; without candidates that could not be fitted, of which `failures` says why.
        """
        exact = [each for each in candidates if is_exact(each[0].estimator)]
        grown = [each for each in candidates if each[0].estimator in TREES]
        by_dask = [each for each in candidates if each[0].estimator in DASK_MODELS]
        clustered = [each for each in candidates if each[0].estimator == KMEANS]
        others = [each for each in candidates if each not in [*exact, *grown, *by_dask, *clustered]]
        found: dict[str, tuple[Fitted, ...]] = {}
        for members, fit in (
            (exact, self._exactly),
            (others, self._generalised),
            (clustered, self._clustered),
            (by_dask, self._by_dask),
            (grown, self._grown),
        ):
            if members and not (found and self.late()):
                found |= fit(members)
        fitted = {name: folds for name, folds in found.items() if folds}
        late = [each.name for each, _ in candidates if each.name not in fitted.keys() | self.failures.keys()]
        if late:
            self.reader.emit(Note(f"the time for the search ends before {', '.join(late)} could be fitted"))
            self.failures |= dict.fromkeys(late, NO_TIME)
        return fitted

    def _fail(self, name: str, error: Exception) -> None:
        said = " ".join(str(error).split())
        self.failures[name] = said
        self.reader.emit(Note(f"{name} could not be fitted: {said}"))

    def _exactly(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        """Fit every candidate in every fold from the products of one pass."""
        products = self._products(sorted({variant for _, variant in candidates}))
        shared = self.reader.records[-1].seconds / (len(candidates) * self.folds)
        found = {}
        for candidate, variant in candidates:
            try:
                found[candidate.name] = tuple(
                    self._exact(candidate, products[variant, fold], shared) for fold in range(self.folds)
                )
            except (RunError, ValueError, np.linalg.LinAlgError) as error:
                self._fail(candidate.name, error)
        return found

    def _grown(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        return fit_trees(
            self.reader, self.source, self.maker, candidates,
            rows=self.outcome.rows, name=self.name, rounds=self.rounds, lanes=self.lanes, late=self.late,
        )  # fmt: skip

    def _exact(self, candidate: Candidate, products: CrossProducts, shared: float) -> Fitted:
        started = time.perf_counter()
        estimator = build(candidate, seed=self.maker.splitter.seed)
        fitted: Any = fit_exact(estimator, products, path=candidate.estimator, classes=self.classes)
        certain = None
        if candidate.estimator == LEAST_SQUARES and not fitted.positive:
            certain = of_least_squares(fitted, products)
        return Fitted(fitted, shared + time.perf_counter() - started, certain)

    def _products(self, variants: Sequence[int]) -> dict[tuple[int, int], CrossProducts]:
        """Measure the products of every variant's and fold's training rows in one pass."""
        wanted: list[Measurement] = []
        places: dict[tuple[int, int], tuple[int, Fold, Any]] = {}
        for variant in variants:
            refit = self.refits.get(variant)
            if refit is not None:
                whole = replace(self.maker, recipes=(refit.recipe,), shared=bool(self.maker.folds))
                rows = ViewRows(whole, 0, double=True, by_cell=True, masks=refit.masks)
                measured = self._by_cell(rows, refit.recipe, len(refit.masks))
                wanted.append(replace(measured, made_of=rows.made_of))
                maps: Sequence[Any] = refit.maps
            elif self.maker.shared:
                rows = ViewRows(self.maker, variant, double=True, by_cell=True)
                wanted.append(self._by_cell(rows, self.maker.recipes[variant], 0))
                maps = [None] * self.folds
            else:
                for fold in range(self.folds):
                    view = variant * self.folds + fold
                    places[variant, fold] = (len(wanted), ONE_FOLD, None)
                    width = self.maker.recipes[view].compiled.width
                    wanted.append(Measurement(ViewRows(self.maker, view, double=True), 1, width))
                continue
            for fold, (said, mapped) in enumerate(zip(self.maker.folds or (ONE_FOLD,), maps, strict=True)):
                places[variant, fold] = (len(wanted) - 1, said, mapped)
        # Products in terms of one preparation never go on from what the ledger holds of another.
        earlier = [each.recipe.digest[:8] for each in self.refits.values() if each.earlier]
        found = measure_products(
            self.reader, self.source, wanted,
            classes=len(self.classes), name=" ".join([f"{self.name}exact", *earlier]), remembered=self.remembered,
        )  # fmt: skip
        return {
            key: _through(found[way].training(fold), mapped, target=not len(self.classes))
            for key, (way, fold, mapped) in places.items()
        }

    def _by_cell(self, rows: ViewRows, recipe: Recipe, masks: int) -> Measurement:
        folds, width = self.maker.splitter.folds, recipe.compiled.width + masks
        if folds is None:
            return Measurement(rows, 1, width)
        return Measurement(rows, len(folds.names), width, folds.repeats)

    def _generalised(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        """Minimise every candidate in every fold, side by side."""
        shared = self.maker.shared
        numbers = self._recipes(candidates)
        ways = [(ViewRows(self.maker, each), self.maker.recipes[each].compiled.width) for each in numbers]
        problems = []
        for candidate, variant in candidates:
            estimator: Any = build(candidate, seed=self.maker.splitter.seed)
            model = MODELS[candidate.estimator]
            strength, summed = model.penalty(estimator)
            loss = model.loss(estimator, len(self.classes))
            for fold in range(self.folds):
                way = numbers.index(variant if shared else variant * self.folds + fold)
                losses = stages_of(loss, self.outcome.rows, ways[way][1], self.outcome.spread)
                said = self.maker.folds[fold] if shared else ONE_FOLD
                most = int(getattr(estimator, "max_iter", 100))
                problems.append(
                    Problem(
                        candidate.name, said, way, losses, strength, summed, estimator.fit_intercept, most
                    )
                )
        outputs = len(self.classes) if len(self.classes) > 2 else 1
        before = len(self.reader.records)
        solutions = minimise(
            self.reader, self.source, ways, problems,
            outputs=outputs, mean=self.outcome.mean, name=self.name, late=self.late,
        )  # fmt: skip
        spent = _shares(
            [record.seconds for record in self.reader.records[before:]], [each.passes for each in solutions]
        )
        certain = self._certain(candidates, problems, solutions, ways)
        known = iter(zip(solutions, spent, certain, strict=True))
        found = {}
        for candidate, _ in candidates:
            fitted = []
            for _ in range(self.folds):
                each, seconds, sure = next(known)
                estimator = build(candidate, seed=self.maker.splitter.seed)
                estimator = told(estimator, each.coefficients, each.intercept, self.classes, each.passes)
                fitted.append(Fitted(estimator, seconds, sure))
            found[candidate.name] = tuple(fitted)
        return found

    def _recipes(self, candidates: Sequence[tuple[Candidate, int]]) -> list[int]:
        """List the recipes by which the rows of candidates are prepared."""
        per = 1 if self.maker.shared else self.folds
        return sorted({variant * per + each for _, variant in candidates for each in range(per)})

    def _clustered(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        """Find the centres of every candidate in every fold, side by side."""
        shared, run_seed = self.maker.shared, self.maker.splitter.seed
        numbers = self._recipes(candidates)
        ways = [
            Way(
                ViewRows(self.maker, each, double=True, by_cell=shared),
                ViewRows(self.maker, each),
                self.maker.recipes[each].compiled.width,
            )
            for each in numbers
        ]
        clusterings = []
        for candidate, variant in candidates:
            model: Any = build(candidate, seed=run_seed)
            seed = run_seed if model.random_state is None else int(model.random_state)
            for fold in range(self.folds):
                way = numbers.index(variant if shared else variant * self.folds + fold)
                said = self.maker.folds[fold] if shared else ONE_FOLD
                clusterings.append(
                    Clustering(
                        candidate.name, said, way, model.n_clusters, seed, model.tol, int(model.max_iter)
                    )
                )
        require_room(self.source.dataset.memory, ways, clusterings)
        before = len(self.reader.records)
        centres = find_centres(self.reader, self.source, ways, clusterings, name=self.name, late=self.late)
        spent = _shares(
            [record.seconds for record in self.reader.records[before:]], [each.passes for each in centres]
        )
        found = {}
        for place, (candidate, _) in enumerate(candidates):
            here = range(place * self.folds, (place + 1) * self.folds)
            if lost := next(filter(None, (centres[each].failure for each in here)), ""):
                self.failures[candidate.name] = lost
            else:
                found[candidate.name] = tuple(
                    Fitted(told_centres(build(candidate, seed=run_seed), centres[each]), spent[each])
                    for each in here
                )
        return found

    def _by_dask(self, candidates: Sequence[tuple[Candidate, int]]) -> dict[str, tuple[Fitted, ...]]:
        """Fit one candidate after the other."""
        shared, seed = self.maker.shared, self.maker.splitter.seed
        found: dict[str, tuple[Fitted, ...]] = {}
        for candidate, variant in candidates:
            if found and self.late():
                break
            problems = []
            for fold in range(self.folds):
                view = variant if shared else variant * self.folds + fold
                said = self.maker.folds[fold] if shared else ONE_FOLD
                width = self.maker.recipes[view].compiled.width
                problems.append(DaskProblem(candidate, fold, ViewRows(self.maker, view), said, width))
            try:
                found[candidate.name] = solve_by_dask(
                    self.reader, self.source, problems, self.maker.target, seed=seed, name=self.name
                )
            except (ValueError, np.linalg.LinAlgError) as error:
                self._fail(candidate.name, error)
        return found

    def _certain(
        self,
        candidates: Sequence[tuple[Candidate, int]],
        problems: Sequence[Problem],
        solutions: Sequence[Solution],
        ways: Sequence[tuple[ViewRows, int]],
    ) -> list[Certainty | None]:
        """Say how certain the models are that are fitted to all rows: without a penalty, and where each row counts once."""
        found: list[Certainty | None] = [None] * len(problems)
        target = self.maker.target
        if self.maker.folds or target.weight is not None or target.class_weight or target.negatives < 1:
            return found
        scattered = []
        for place, ((candidate, _), problem, each) in enumerate(
            zip(candidates, problems, solutions, strict=True)
        ):
            if problem.penalty > 0 or not each.converged or each.curvature is None:
                continue
            if MODELS[candidate.estimator].scatters:
                scattered.append(place)
            else:
                outputs = each.coefficients.shape[1]
                found[place] = of_curvature(each.curvature, intercept=problem.intercept, outputs=outputs)
        if scattered:
            sums = scatter_scores(
                self.reader, self.source, ways, [problems[place] for place in scattered],
                [solutions[place] for place in scattered], name=self.name,
            )  # fmt: skip
            for place, (rows, scatter, curvature) in zip(scattered, sums, strict=True):
                intercept = problems[place].intercept
                found[place] = (
                    of_dispersion(curvature, scatter, rows, intercept=intercept)
                    if isinstance(problems[place].losses[-1], Gamma)
                    else of_scores(curvature, scatter, intercept=intercept)
                )
        return found


def _shares(seconds: Sequence[float], passes: Sequence[int]) -> list[float]:
    """Deal the seconds of each pass among those who took part, of whom each took part in the first ones."""
    each = [spent / sum(number > done for number in passes) for done, spent in enumerate(seconds)]
    return [sum(each[:number]) for number in passes]


def _through(products: CrossProducts, mapped: Any, *, target: bool) -> CrossProducts:
    """Return the products of features as another preparation makes them; the target stays as it is."""
    if mapped is None:
        return products
    matrix, offset = mapped
    if target:
        wider = np.zeros((matrix.shape[0] + 1, matrix.shape[1] + 1))
        wider[:-1, :-1], wider[-1, -1] = matrix, 1.0
        matrix, offset = wider, np.append(offset, 0.0)
    return products.mapped(matrix, offset)
