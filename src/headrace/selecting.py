"""From profiles to the best candidate: preparations of all folds, and the stream that trains on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from headrace.data.storage import join, remove_tree
from headrace.errors import WorkflowError
from headrace.opening import judged_rows
from headrace.outright import fit_in_folds
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import fit_preparation
from headrace.preparation.parted import found_in
from headrace.profiling.explorers import ChosenRows, ProductFinder
from headrace.profiling.folds import fold_profiles, training_profile, validation_rows
from headrace.stages import deciding, note
from headrace.training.baseline import LINEAR, baseline, one_column, telling_column
from headrace.training.blocks import BlockMaker, Recipe
from headrace.training.board import Fitted, Trained, all_failed, rank
from headrace.training.candidates import (
    BASELINE,
    ONE_COLUMN,
    PLAIN_LINEAR,
    Candidate,
    build,
    candidates_of,
    require_parameters,
)
from headrace.training.ensembles import add_ensemble, heard
from headrace.training.lanes import require_averaging
from headrace.training.nested import nested_score
from headrace.training.routes import is_direct
from headrace.training.scoring import goodness
from headrace.training.search import ask, journal, most_preparations, one_by_one, rounds_of, rungs_of
from headrace.training.streaming import Entrant, Stream
from headrace.training.variants import variants_of, varied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.accumulators.gram import Gram
    from headrace.engine.cache import ArrayCache
    from headrace.engine.passes import Reader
    from headrace.opening import Opened
    from headrace.preparation.fitted import Preparation
    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import Profile
    from headrace.rundir import RunDirectory
    from headrace.training.blocks import Target
    from headrace.training.board import Training
    from headrace.training.certainty import Certainty
    from headrace.training.rungs import Rung
    from headrace.training.search import Round
    from headrace.workflow import WorkflowFile


@dataclass
class Selector:
    """What training needs of a run, whatever is tried in it.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    opened : Opened
        The dataset.
    profiles : mapping of str to Profile
        Of every part, or of every cell of the folds.
    target : Target
        How the target is read.
    cache : ArrayCache, optional
        Where prepared blocks are kept.
    findings : mapping of str, optional
        What was found beside the profiles in the same pass, and by `headrace.preparing`.
    """

    workflow: WorkflowFile
    opened: Opened
    profiles: Mapping[str, Profile]
    target: Target
    cache: ArrayCache | None = None
    findings: Mapping[str, Any] = field(default_factory=dict)
    whole: Profile = field(init=False)
    """Of all rows that may be learnt from."""
    parts: tuple[Profile, ...] = field(init=False)
    """Of the rows that each fold learns from; for a holdout of its training rows."""
    certain: dict[str, Certainty] = field(default_factory=dict, init=False)
    """How well the coefficients of linear models are determined, by candidate, of those that were fitted to all rows."""

    def __post_init__(self) -> None:
        splitter = self.opened.splitter
        self.whole = training_profile(self.profiles, splitter)
        self.parts = (self.whole,) if splitter.folds is None else fold_profiles(self.profiles, splitter)

    @property
    def ratio(self) -> float:
        """Validation rows over training rows, of the outer folds where these are nested."""
        folds = self.opened.splitter.folds
        outer = 1 if folds is None else sum(fold.within is None for fold in folds.folds)
        judged = sum(validation_rows(self.profiles, self.opened.splitter)[:outer])
        return judged / max(1, sum(profile.rows for profile in self.parts[:outer]))

    @property
    def shared(self) -> bool:
        """Whether all folds see rows that are prepared in the same way."""
        return self.opened.splitter.folds is not None and getattr(
            self.workflow.validation, "shared_preparation", False
        )

    def fit(self, options: PrepareOptions, profile: Profile | None = None) -> Preparation:
        """Learn a preparation, by default from all rows that may be learnt from."""
        profile = profile or self.whole
        found = found_in(self.findings, self.cells_of(profile))
        preparation = fit_preparation(profile, options, features=self.opened.features, found=found)
        if preparation.rules and self.shared:
            raise WorkflowError(
                "rows cannot be left out of training alone when all folds share them",
                where="validation.shared_preparation",
                mend="leave it out, or prepare.drop_rows, isolation_forest and outliers: remove",
            )
        return preparation

    def cells_of(self, profile: Profile) -> tuple[str, ...]:
        """Name the sets of rows that a profile is of."""
        splitter = self.opened.splitter
        if splitter.folds is None:
            return ("train",)
        if profile is self.whole:
            return splitter.cell_names(0)
        fold = next(
            fold for fold, part in zip(splitter.folds.folds, self.parts, strict=True) if part is profile
        )
        names = splitter.cell_names(fold.repeat)
        return tuple(names[cell] for cell in fold.train)

    def maker(self, variants: Sequence[PrepareOptions]) -> BlockMaker:
        """Make what turns chunks into blocks for every fold and variant; validation rows are thinned to what may be held."""
        sources = (self.whole,) if self.shared else self.parts
        judged = sum(validation_rows(self.profiles, self.opened.splitter)) * max(len(variants), self._ways)
        return BlockMaker(
            recipes=tuple(
                self.recipe(self.fit(options, source)) for options in variants for source in sources
            ),
            target=self.target,
            splitter=self.opened.splitter,
            validation_share=min(1.0, judged_rows(self.opened) / max(1, judged)),
            shared=self.shared,
            cache=self.cache,
            embeddings=self.opened.trained.embeddings,
        )

    def last(self, preparation: Preparation) -> BlockMaker:
        """Make what prepares rows for the model that is kept: as `maker` does, or of all rows when there were folds."""
        splitter = self.opened.splitter
        if splitter.folds is None and self.workflow.train.refit is None:
            return replace(self.maker([self.workflow.prepare]), recipes=(self.recipe(preparation),))
        plain = replace(splitter, folds=None, validation=0.0)
        return BlockMaker(
            (self.recipe(preparation),), self.target, plain, 1.0,
            cache=self.cache, embeddings=self.opened.trained.embeddings,
        )  # fmt: skip

    def recipe(self, preparation: Preparation) -> Recipe:
        """Compile a preparation."""
        compiled = CompiledPreparation(preparation, native=self.opened.native)
        return Recipe(compiled, tuple(preparation.features_in), preparation.digest)

    def baselines(self, candidates: Sequence[Candidate], maker: BlockMaker) -> list[Entrant]:
        """Return what candidates have to beat, seeing rows as the first of them does.

        A dummy is fitted for each fold. A model of the one column that tells most, and a linear one unless it is a candidate
        itself, learn on the stream beside the others.
        """
        fitted = [baseline(profile, self.target) for profile in self.parts]
        if any(dummy is None for dummy in fitted):
            return []
        dummies = tuple(Fitted(dummy, 0.0) for dummy in fitted)
        found = [Entrant(Candidate(BASELINE, "sklearn.dummy"), fixed=dummies, is_baseline=True)]
        task, seed = self.workflow.problem.task, self.workflow.seed
        linear = Candidate(PLAIN_LINEAR, LINEAR[task])
        sources = (self.whole,) if self.shared else self.parts
        recipes = [each.compiled for each in maker.recipes[: len(sources)]]
        columns = [
            telling_column(profile, compiled, self.target, self._products)
            for profile, compiled in zip(sources, recipes, strict=True)
        ]
        known = [name for name in columns if name is not None]
        if len(known) == len(columns):
            fresh = [
                one_column(compiled.features_of(name), compiled.width, task, seed)
                for name, compiled in zip(known, recipes, strict=True)
            ]
            fresh *= len(self.parts) // len(fresh)
            said = Candidate(ONE_COLUMN, LINEAR[task], {"column": known[-1]})
            found.append(Entrant(said, fresh=tuple(fresh), is_baseline=True))
        if not any(replace(each, name=PLAIN_LINEAR) == linear for each in candidates):
            found.append(Entrant(linear, is_baseline=True))
        return found

    @property
    def _ways(self) -> int:
        """Ways to prepare rows at once at most: with it, all rounds of a search are judged by the same rows."""
        search = self.workflow.search
        return 1 if search is None else most_preparations(search, self.workflow.models)

    @property
    def _products(self) -> Gram | None:
        """Cross products of numbers that the exploration has measured over training rows."""
        explored = self.findings.get(ChosenRows.name)
        return None if explored is None else explored.found.get(ProductFinder.name)


def check_candidates(workflow: WorkflowFile) -> None:
    """Refuse models and spaces that cannot be tried, before any data are read.

    Raises
    ------
    WorkflowError
        When an estimator, a parameter, a key of a space or one of its values is wrong, or lanes do not fit.
    """
    candidates = candidates_of(workflow.models, task=workflow.problem.task)
    if workflow.train.lanes > 1:
        require_averaging([each for each in candidates if not is_direct(each.estimator)])
    for index, model in enumerate(workflow.models):
        where = f"models[{index}].space"
        for candidate in one_by_one(model):
            require_parameters(build(candidate, seed=0, where=where), task=workflow.problem.task, where=where)
            varied(workflow.prepare, candidate.prepare)


def select(selector: Selector, reader: Reader, run: RunDirectory) -> Training:
    """Train all candidates in all folds, those of a search round by round, and rank them."""
    workflow = selector.workflow
    _tell(selector, run)
    if workflow.search is None:
        candidates = candidates_of(workflow.models, task=workflow.problem.task)
        return _completed(selector, _round(selector, candidates, reader), run)
    limit = 60 * (workflow.search.max_minutes or math.inf)
    done: Training | None = None
    for each in rounds_of(workflow.search, workflow.models, run.record.get("more_candidates", ())):
        if done is not None and sum(record.seconds for record in reader.records) > limit:
            note(run, [f"the time for the search ends before {each.name}: the best so far counts"])
            break
        told = [] if done is None else [(t.candidate, goodness(t.scores, done.metric)) for t in done.trained]
        candidates = ask(workflow.search, workflow.models, each, told, seed=workflow.seed)
        now = _round(selector, candidates, reader, each, limit)
        done = now if done is None else replace(now, trained=rank((*done.trained, *now.trained), now.metric))
        _forget(done, 0 if workflow.ensemble is None else workflow.ensemble.size)
        if workflow.search.kind == "bayes" and "://" not in run.url:
            found = [(t.candidate, goodness(t.scores, done.metric)) for t in done.trained]
            place = join(run.url, "optuna.journal")
            remove_tree(place)
            journal(place, workflow.models, found)
    assert done is not None, "a search has a round"
    return _completed(selector, done, run)


def _forget(training: Training, size: int) -> None:
    """Drop the answers of those that later rounds have overtaken."""
    kept = {id(each) for each in [training.best, *heard(training.trained, size)]}
    for each in training.trained:
        if id(each) not in kept:
            each.answers = ()


def _completed(selector: Selector, training: Training, run: RunDirectory) -> Training:
    """Add what is known when all candidates are: the score of the choice among them, and an ensemble."""
    folds = selector.opened.splitter.folds
    training = replace(training, nested=nested_score(training, () if folds is None else folds.folds))
    if selector.workflow.ensemble is None:
        return training
    training, told = add_ensemble(training, selector.workflow.ensemble, selector.target.classes)
    note(run, [told])
    return training


def _round(
    selector: Selector,
    candidates: Sequence[Candidate],
    reader: Reader,
    each: Round | None = None,
    limit: float = math.inf,
) -> Training:
    workflow, source = selector.workflow, selector.opened.trained
    variants, which = variants_of(candidates, workflow.prepare)
    maker, name = selector.maker(variants), each.name if each else ""
    fitted, failures = fit_in_folds(selector, candidates, which, variants, maker, reader, name, limit)
    unfitted = [Trained(each, failure=failures[each.name]) for each in candidates if each.name in failures]
    if len(unfitted) == len(candidates):
        raise all_failed(unfitted)
    entrants = [
        Entrant(candidate, which[candidate.name], fitted.get(candidate.name, ()))
        for candidate in candidates
        if candidate.name not in failures
    ]
    names = [candidate.name for candidate in candidates]
    rungs: tuple[Rung, ...] = ()
    if workflow.search is not None:
        rungs = rungs_of(workflow.search, names, most=workflow.train.epochs * source.rows)
    stream = Stream(
        reader, source, maker, workflow.train, workflow.problem.task, deciding(workflow), name, rungs, limit,
        answers=workflow.calibrate is not None or workflow.threshold is not None,
        ensemble=0 if workflow.ensemble is None else workflow.ensemble.size,
    )  # fmt: skip
    first = each is None or each.number == 1
    training = stream.train([*entrants, *(selector.baselines(candidates, maker) if first else ())])
    return replace(
        training, trained=rank((*training.trained, *unfitted), training.metric), ratio=selector.ratio
    )


def _tell(selector: Selector, run: RunDirectory) -> None:
    folds = selector.opened.splitter.folds
    if folds is None:
        return
    how = (
        "the preparation is learnt once from all of these rows (shared_preparation), those that judge included"
        if selector.shared
        else "each fold learns its preparation from the rows that it learns from, and from no others"
    )
    said = selector.workflow.validation
    inner = sum(fold.within is not None for fold in folds.folds)
    nested = f", and {inner} within them," if inner else ""
    note(run, [
        f"validation: {len(folds.folds) - inner} folds{nested} ({said.kind}) of all rows that are not for the test; {how}",
        "the best candidate is fitted to all of these rows for the rounded mean of its best epochs",
    ])  # fmt: skip
