"""Each block to every live candidate in every fold before it is dropped; epochs, early stopping, best weights kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.engine.commits import Form
from headrace.engine.events import EpochScored, Note
from headrace.engine.lanes import Lanes, deal
from headrace.engine.order import chunk_order
from headrace.engine.plan import look_ahead
from headrace.errors import RunError
from headrace.training.board import Trained, Training, all_failed, mean_scores, note_epoch, rank, together
from headrace.training.candidates import build
from headrace.training.checkpoint import Learner, dump_held, dump_learners, load_blocks, load_learners
from headrace.training.deadline import Deadline
from headrace.training.ensembles import heard
from headrace.training.lanes import mix, require_averaging
from headrace.training.learning import answer, learn, score, validation_of, without
from headrace.training.rungs import losers, positions
from headrace.training.scoring import SELECTED_BY, goodness, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from distributed import Future

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.blocks import BlockMaker
    from headrace.training.board import Fitted
    from headrace.training.calibration import Answers
    from headrace.training.candidates import Candidate
    from headrace.training.learning import Scored
    from headrace.training.options import TrainOptions
    from headrace.training.rungs import Rung

EPOCH, RUNGS = "epoch", "rungs"
"""Facts of the ledger: an epoch is done and scored; rungs at which candidates were dropped."""


@dataclass(frozen=True)
class Entrant:
    """A candidate that enters the stream."""

    candidate: Candidate
    variant: int = 0
    """Which way of preparing it sees, see `headrace.training.prepared.Prepared`."""
    fixed: tuple[Fitted, ...] = ()
    """One a fold, of what does not learn from the stream."""
    fresh: tuple[Any, ...] = ()
    """One unfitted estimator a fold, where folds differ; else that of the candidate."""
    is_baseline: bool = False
    """Whether it is there to compare with, and never the winner."""


@dataclass
class Stream:
    """Trains entrants on one ordered stream of blocks, one pass an epoch; none influences another.

    Parameters
    ----------
    reader : Reader
        Runs the passes and counts them.
    source : Source
        The chunks.
    maker : BlockMaker
        Prepares the blocks, for one fold or several.
    options : TrainOptions
        Epochs, patience, tolerance, lanes.
    task : str
        classification, regression or clustering.
    metric : str, optional
        Validation metric that decides; by default that of the task.
    name : str
        Begins the names of its passes and facts.
    rungs : tuple of Rung
        Where losers are dropped.
    seconds : float
        No epoch is begun that would end later, by the length of the one before; counted over all passes of the run.
    answers : bool
        Whether to keep what the best candidate says of the validation rows.
    ensemble : int
        Of how many candidates that are prepared alike to keep it as well.
    """

    reader: Reader
    source: Source
    maker: BlockMaker
    options: TrainOptions
    task: str
    metric: str | None = None
    name: str = ""
    rungs: tuple[Rung, ...] = ()
    seconds: float = math.inf
    answers: bool = False
    ensemble: int = 0
    board: dict[tuple[str, int], Trained] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.classes = self.maker.target.classes
        self.kind = kind_of(self.task, len(self.classes))
        self.metric = self.metric or SELECTED_BY[self.kind]
        self.folds = max(1, len(self.maker.folds))
        self.held: list[Future[Any]] = []

    def train(self, entrants: Sequence[Entrant]) -> Training:
        """Train every candidate in every fold.

        Returns
        -------
        Training
            Every candidate at its best epoch; with folds without the weights, which belong to one fold each.

        Raises
        ------
        RunError
            When every candidate failed, or there are no validation rows to choose by.
        """
        reader = self.reader
        form = self._form(entrants)
        learners, epoch, best = self._begin(entrants, form)
        for done in range(1, epoch + 1):
            recalled = reader.recall(self._pass(done), self.source, form)
            self.held = self.held or recalled
        # Those that are fitted already need the validation rows, which the first epoch holds.
        fitted = any(each.fixed and not each.is_baseline for each in entrants)
        while (
            (self._go_on(learners) or (fitted and not epoch))
            and epoch < self.options.epochs
            and not self._too_late(epoch)
        ):
            epoch += 1
            chains = self._epoch(learners, epoch, form)
            fixed = self._fixed(entrants) if epoch == 1 else ()
            results = self._scored([*chains, *self._chained(fixed)], self.held)
            judged = {learner.key: results.pop(learner.key) for learner in fixed}
            going = {key for key, one in results.items() if self._noted(self.board[key], one, epoch)}
            learners = [
                one.learner
                for key, one in sorted(results.items())
                if key in going or (self._awaited(key, going) and not one.learner.failure)
            ]
            learners = self._end_of_epoch(learners, epoch)
            self._note_fixed(judged)
            self._tell(epoch, {key: one.scores for key, one in results.items()})
            best = self._commit(learners, epoch, best)
        assert self.metric is not None, "a stream knows its metric"
        names = list(dict.fromkeys(name for name, _ in self.board))
        ranked = rank((self._together(name) for name in names), self.metric)
        if ranked[0].failure or ranked[0].is_baseline or not ranked[0].history:
            raise all_failed(ranked)
        for each in [*(ranked[:1] if self.answers else ()), *heard(ranked, self.ensemble)]:
            each.answers = each.answers or self._answers(each.candidate.name)
        return Training(self.metric, ranked, epoch)

    def _go_on(self, learners: Sequence[Learner]) -> bool:
        """Tell whether somebody learns for whom the data are read: baselines learn from what others read alone."""
        return any(not self.board[learner.key].is_baseline for learner in learners)

    def _pass(self, epoch: int) -> str:
        return f"{self.name}epoch {epoch}"

    def _order(self, epoch: int) -> list[int]:
        return chunk_order(len(self.source.chunks), seed=self.maker.splitter.seed, epoch=epoch)

    def _awaited(self, key: tuple[str, int], going: AbstractSet[tuple[str, int]]) -> bool:
        """Tell whether folds within a fold still learn: what they choose is scored there at their best epoch."""
        name, number = key
        return any(fold.within == number and (name, i) in going for i, fold in enumerate(self.maker.folds))

    def _too_late(self, epoch: int) -> bool:
        late = epoch > 0 and Deadline(self.reader, self.seconds).reached()
        if late:
            self.reader.emit(
                Note(f"the time for the search ends after {self._pass(epoch)}: the best so far counts")
            )
        return late

    def _epoch(self, learners: Sequence[Learner], epoch: int, form: Form) -> list[Future[Any]]:
        order = self._order(epoch)
        sizes = [self.source.chunks[index].rows for index in order]
        due = positions(self.rungs, sizes, epoch=epoch)
        chains, kept = self.reader.stream(
            self.source,
            order,
            self.maker.for_epoch(epoch, self._views(learners, epoch)),
            partial(learn, classes=self.classes),
            self._chains(learners),
            name=self._pass(epoch),
            keep=validation_of if epoch == 1 else None,
            form=form,
            lanes=Lanes(self.options.lanes, self.options.mix_every, mix),
            ahead_of=look_ahead(len(self.maker.recipes)),
            pauses={
                place: partial(self._pause, due=numbers)
                for place, numbers in due.items()
                if place < len(order)
            },
        )
        self.held = self.held or kept
        return chains

    def _views(self, learners: Sequence[Learner], epoch: int) -> frozenset[int]:
        """Say which views are prepared: in the first epoch also those of entrants that do not learn but are scored."""
        scored = [trained.view for trained in self.board.values()] if epoch == 1 else []
        return frozenset([*scored, *(learner.view for learner in learners)])

    def _chains(self, learners: Sequence[Learner]) -> list[Future[Any]]:
        """Deal the learners to as many chains as there are threads, those of one view together; no result depends on it.

        Baselines soon know enough, so that a chain of theirs would be tasks for nothing.
        """
        busy = sum(not self.board[learner.key].is_baseline for learner in learners)
        hands = max(1, min(busy, self.reader.threads // self.options.lanes))
        dealt = deal(sorted(learners, key=lambda each: (each.view, each.key)), hands)
        return [self.reader.client.submit(tuple, hand, pure=False) for hand in dealt]

    def _scored(self, chains: list[Future[Any]], held: list[Future[Any]]) -> dict[tuple[str, int], Scored]:
        scoring = partial(score, kind=self.kind, classes=self.classes)
        reports = [self.reader.client.submit(scoring, chain, *held, pure=False) for chain in chains]
        gathered: list[list[Scored]] = self.reader.client.gather(reports)
        return {one.learner.key: one for report in gathered for one in report}

    def _answers(self, name: str) -> tuple[Answers, ...]:
        asked = [
            self.reader.client.submit(answer, each.estimator, each.view, *self.held, pure=False)
            for each in self._together(name).folds or [self.board[name, 0]]
        ]
        answers: list[Answers] = self.reader.client.gather(asked)
        return tuple(answers)

    def _noted(self, trained: Trained, one: Scored, epoch: int) -> bool:
        assert self.metric is not None, "a stream knows its metric"
        trained.microseconds, trained.rows = one.microseconds, one.rows
        return note_epoch(trained, one.learner, one.scores, epoch, self.metric, self.options)

    def _fixed(self, entrants: Sequence[Entrant]) -> tuple[Learner, ...]:
        """Those that are fitted already, which are scored beside those that learn."""
        return tuple(
            Learner(each.candidate, known.estimator, known.seconds, fold=fold, view=self._view(each, fold))
            for each in entrants
            for fold, known in enumerate(each.fixed)
        )

    def _chained(self, learners: tuple[Learner, ...]) -> list[Future[Any]]:
        return [self.reader.client.submit(tuple, list(learners), pure=False)] if learners else []

    def _note_fixed(self, judged: Mapping[tuple[str, int], Scored]) -> None:
        for key, one in judged.items():
            trained = self.board[key]
            trained.estimator, trained.scores, trained.rows = one.learner.estimator, one.scores, one.rows
            trained.microseconds, trained.seconds = one.microseconds, one.learner.seconds
            if not trained.is_baseline:
                trained.history, trained.best_epoch = [one.scores], 1

    def _tell(self, epoch: int, scores: Mapping[tuple[str, int], dict[str, float]]) -> None:
        self.reader.emit(EpochScored(epoch, self._means(scores)))

    def _pause(
        self, states: list[Future[Any]], kept: list[Future[Any]], *, due: Sequence[int]
    ) -> list[Future[Any]]:
        """Drop the losers of the rungs that are due within an epoch, judged by the validation rows read so far."""
        results = self._scored(states, self.held or kept)
        gone = self._drop({key: one.scores for key, one in results.items()}, due)
        return [self.reader.client.submit(without, state, gone, pure=False) for state in states]

    def _end_of_epoch(self, learners: list[Learner], epoch: int) -> list[Learner]:
        """Drop the losers of the rungs that are due at the end of an epoch."""
        order = self._order(epoch)
        sizes = [self.source.chunks[index].rows for index in order]
        due = positions(self.rungs, sizes, epoch=epoch).get(len(order), [])
        scores = {learner.key: self.board[learner.key].history[-1] for learner in learners}
        gone = self._drop(scores, due)
        return [learner for learner in learners if learner.candidate.name not in gone]

    def _drop(self, scores: Mapping[tuple[str, int], dict[str, float]], due: Sequence[int]) -> frozenset[str]:
        assert self.metric is not None, "a stream knows its metric"
        gone: dict[str, int] = {}
        # Folds of a candidate that have stopped already count with the score of their best epoch.
        every = {
            (name, fold): scores.get((name, fold), self.board[name, fold].scores)
            for name in {name for name, _ in scores}
            for fold in range(self.folds)
        }
        for number in due:
            rung = self.rungs[number]
            there = {name: value for name, value in self._means(every).items() if name not in gone}
            gone |= dict.fromkeys(losers(rung, there), rung.rows)
        for (name, fold), said in every.items():
            if name in gone:
                trained = self.board[name, fold]
                trained.stopped = gone[name]
                trained.scores = trained.scores if trained.history else said
        if due and self.reader.ledger is not None:
            dropped = [trained.note() for trained in self.board.values() if trained.stopped]
            self.reader.ledger.append(f"{self.name}{RUNGS}", {"dropped": dropped})
        return frozenset(gone)

    def _means(self, scores: Mapping[tuple[str, int], dict[str, float]]) -> dict[str, float]:
        """Average over folds; a candidate that failed in one of them has the worst there is."""
        assert self.metric is not None, "a stream knows its metric"
        by_name: dict[str, list[dict[str, float]]] = {}
        for (name, _), said in sorted(scores.items()):
            by_name.setdefault(name, []).append(said)
        return {name: goodness(mean_scores(said), self.metric) for name, said in by_name.items()}

    def _view(self, entrant: Entrant, fold: int) -> int:
        return entrant.variant * self.folds + fold

    def _form(self, entrants: Sequence[Entrant]) -> Form:
        load = partial(load_learners, candidates={each.candidate.name: each.candidate for each in entrants})
        return Form(dump_learners, load, dump_held, load_blocks)

    def _begin(self, entrants: Sequence[Entrant], form: Form) -> tuple[list[Learner], int, dict[str, bytes]]:
        """Begin with unfitted learners, or after the last epoch that the ledger knows.

        Returns
        -------
        learners : list of Learner
            Those that go on.
        epoch : int
            The last one that is done.
        best : dict of str to bytes
            The best weights of each candidate, as written.
        """
        seed = self.maker.splitter.seed
        learners = []
        for entrant in entrants:
            for fold in range(self.folds):
                view = self._view(entrant, fold)
                trained = Trained(entrant.candidate, fold=fold, view=view, is_baseline=entrant.is_baseline)
                self.board[trained.key] = trained
                if not entrant.fixed:
                    fresh = entrant.fresh[fold] if entrant.fresh else build(entrant.candidate, seed=seed)
                    learners.append(Learner(entrant.candidate, fresh, fold=fold, view=view))
        if self.options.lanes > 1:
            require_averaging([learner.candidate for learner in learners])
        ledger = self.reader.ledger
        facts = {} if ledger is None else ledger.state.facts
        known, rungs = facts.get(f"{self.name}{EPOCH}"), facts.get(f"{self.name}{RUNGS}")
        epoch, best = 0, {}
        if known is not None and ledger is not None:
            pieces = {label: ledger.read(payload) for label, payload in known.payloads.items()}
            learners = list(
                form.load([pieces[label] for label in sorted(pieces) if label.startswith("learner")])
            )
            best = {label: piece for label, piece in pieces.items() if label.startswith("best")}
            for (learner,) in (form.load([piece]) for piece in best.values()):
                self.board[learner.key].estimator = learner.estimator
            epoch = int(known.body["epoch"])
        dropped = rungs.body["dropped"] if rungs else ()
        # What was dropped at the end of an epoch that was not committed is scored and dropped again with it.
        within = [note for note in dropped if len(note["history"]) <= epoch]
        for note in [*(known.body["board"] if known else ()), *within]:
            self.board[note["name"], note["fold"]].recall(note)
        self._rebuild_fixed(entrants, epoch)
        return learners, epoch, best

    def _rebuild_fixed(self, entrants: Sequence[Entrant], epoch: int) -> None:
        for entrant in entrants if epoch else ():
            for fold, known in enumerate(entrant.fixed):
                self.board[entrant.candidate.name, fold].estimator = known.estimator

    def _commit(self, learners: Sequence[Learner], epoch: int, best: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write down who goes on and the best weights of each candidate, and return the latter as written."""
        if self.reader.ledger is None:
            return {}
        now = dict(best)
        try:
            going = {f"learner-{i:05}": piece for i, piece in enumerate(dump_learners(learners))}
            for number, (_, trained) in enumerate(sorted(self.board.items())):
                if trained.best_epoch == epoch and trained.estimator is not None:
                    held = Learner(trained.candidate, trained.estimator, fold=trained.fold, view=trained.view)
                    (now[f"best-{number:05}"],) = dump_learners([held])
        except RunError as error:
            self.reader.emit(Note(f"{self._pass(epoch)} would be done again after a crash: {error}"))
            return now
        notes = [trained.note() for trained in self.board.values()]
        self.reader.ledger.append(
            f"{self.name}{EPOCH}",
            {"epoch": epoch, "board": notes},
            {**going, **now},
            frees=[self._pass(epoch)],
        )
        return now

    def _together(self, name: str) -> Trained:
        within = [fold.within for fold in self.maker.folds] or [None]
        every = [self.board[name, fold] for fold in range(self.folds)]
        whole = together(tuple(each for each, outer in zip(every, within, strict=True) if outer is None))
        whole.inner = tuple(each for each, outer in zip(every, within, strict=True) if outer is not None)
        for each in whole.inner:
            each.estimator = None  # its scores are all that is asked for later
        return whole
