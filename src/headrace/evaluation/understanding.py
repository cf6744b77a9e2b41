"""Understanding: on which columns a model rests, how it answers as they change, and in which rows it errs most."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.evaluation.asked import Asked
from headrace.evaluation.cells import ranked
from headrace.evaluation.coefficients import coefficients
from headrace.evaluation.contributions import contributions, has_contributions
from headrace.evaluation.dependence import partial_dependence
from headrace.evaluation.importance import permutation_importance
from headrace.preparation.selection import score_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.data.embeddings import Embedding
    from headrace.evaluation.cells import Cells, HarmfulSlice
    from headrace.evaluation.coefficients import Coefficients
    from headrace.evaluation.contributions import Contributions
    from headrace.evaluation.dependence import Dependence
    from headrace.evaluation.importance import Importance
    from headrace.evaluation.testing import Outcome
    from headrace.preparation.fitted import Preparation
    from headrace.profiling.profile import Profile
    from headrace.training.blocks import BlockMaker
    from headrace.training.board import Trained
    from headrace.training.certainty import Certainty

SHUFFLED_COLUMNS = 50
"""Columns whose importance is measured, of very many."""
FOLLOWED_COLUMNS = 12
"""Columns along which the model is followed, the most important."""
FOLLOWED_ROWS = 1_000
EXPLAINED_ROWS = 2_000
"""Rows whose predictions are taken apart into contributions."""
ENTRIES = 1 << 22
"""Numbers of all prepared rows together: of many features fewer rows are asked about."""
LEAST_ROWS = 100
MOST_SLICES = 60


@dataclass(frozen=True)
class Understanding:
    """What can be said of how a model answers; each part is None, or empty, where it does not apply.

    Attributes
    ----------
    rows : int
        Test rows of which everything but `slices` is drawn, at random; each part says how many of them it took.
    importance : Importance or None
        What is lost without each column; of supervised models.
    dependence : tuple of Dependence
        What the model says along the most important columns.
    coefficients : Coefficients or None
        Of a linear model.
    contributions : Contributions or None
        Of boosted trees.
    slices : tuple of HarmfulSlice
        Groups of test rows, all of which were looked at, that add most to the loss.
    sliced : tuple of str
        Columns by which rows were grouped.
    """

    rows: int
    importance: Importance | None
    dependence: tuple[Dependence, ...]
    coefficients: Coefficients | None
    contributions: Contributions | None
    slices: tuple[HarmfulSlice, ...]
    sliced: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document, with the attributes as its keys."""
        return asdict(self)


def understand(
    best: Trained,
    maker: BlockMaker,
    preparation: Preparation,
    tested: Outcome,
    cells: Mapping[str, Cells],
    profile: Profile,
    *,
    task: str,
    metric: str,
    certainty: Certainty | None,
) -> Understanding:
    """Look into a model, by the test rows that were kept and the losses of all.

    Parameters
    ----------
    best : Trained
        The candidate, fitted as it is packaged.
    maker : BlockMaker
        Prepares its rows.
    preparation : Preparation
        What it sees.
    tested : Outcome
        Of the pass over the test rows.
    cells : mapping of str to Cells
        By which losses were added up in it.
    profile : Profile
        Of the training rows, which says what columns come first when there are very many.
    task : str
        Of the problem.
    metric : str
        The one that decided between candidates.
    certainty : Certainty or None
        Of a linear model's fit.

    Returns
    -------
    Understanding
        Of nothing for clusters, which have no truth to miss, and without test rows.
    """
    layout, asked = preparation.layout, None
    if task != "clustering":
        compiled = maker.recipes[0].compiled
        asked = Asked.of(best.estimator, compiled, layout, maker.target, task, tested.rows)
    if asked is None:
        return Understanding(0, None, (), None, None, (), ())
    width = layout.nnz_per_row if layout.sparse else layout.width
    asked = asked.first(max(LEAST_ROWS, ENTRIES // max(1, width)))
    columns = columns_of(preparation.features_in, maker.embeddings)
    chosen = telling(columns, profile)
    left_out, seed = len(columns) - len(chosen), maker.splitter.seed
    importance = permutation_importance(asked, chosen, metric, seed=seed, left_out=left_out)
    names = [each.column for each in importance.columns] if importance else list(chosen)
    alone = [name for name in names if columns[name] == (name,)][:FOLLOWED_COLUMNS]
    told = {
        name: {value for value, _ in column.overall.hitters.items()}
        for name, column in profile.columns.items()
        if column.kind == "string"
    }
    origins, few = origins_of(preparation, columns), asked.first(EXPLAINED_ROWS)
    return Understanding(
        rows=asked.rows,
        importance=importance,
        dependence=partial_dependence(asked.first(FOLLOWED_ROWS), alone, told),
        coefficients=coefficients(few, best.candidate.estimator, layout.names, origins, certainty),
        contributions=contributions(few, origins) if has_contributions(asked.estimator) else None,
        slices=ranked(tested.losses, cells, MOST_SLICES),
        sliced=tuple(cells),
    )


def columns_of(features: Iterable[str], embeddings: Sequence[Embedding]) -> dict[str, tuple[str, ...]]:
    """Name the columns that a user knows: each alone, but those that one text became together.

    Examples
    --------
    >>> from headrace.data.embeddings import Embedding
    >>> columns_of(["size", "title_embedding_0", "title_embedding_1"], [Embedding("title", "model", 2, "")])
    {'size': ('size',), 'meaning of title': ('title_embedding_0', 'title_embedding_1')}
    """
    made = {name: f"meaning of {each.column}" for each in embeddings for name in each.names}
    found: dict[str, tuple[str, ...]] = {}
    for name in features:
        label = made.get(name, name)
        found[label] = (*found.get(label, ()), name)
    return found


def telling(columns: Mapping[str, tuple[str, ...]], profile: Profile) -> dict[str, tuple[str, ...]]:
    """Choose the columns that are looked at when there are very many: those that alone tell most of the target, by the profile."""
    if len(columns) <= SHUFFLED_COLUMNS:
        return dict(columns)
    gram, scores = profile.gram, dict.fromkeys(columns, 0.0)
    if profile.classes or (gram is not None and profile.target in gram.names):
        by = "mutual_information" if profile.classes else "correlation"
        for name in columns.keys() & profile.columns.keys():
            scores[name] = score_of(profile, name, by, gram) or 0.0
    best = sorted(columns, key=lambda name: -scores[name])[:SHUFFLED_COLUMNS]
    return {name: columns[name] for name in best}


def origins_of(preparation: Preparation, columns: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Name the column that each feature is made of, or the columns, joined by ``×``."""
    label = {name: known for known, members in columns.items() for name in members}
    layout = preparation.layout
    found = [""] * layout.width
    place = layout.regular_width
    for plan in layout.recipes:
        together = " \N{MULTIPLICATION SIGN} ".join(dict.fromkeys(label[name] for name in plan.columns))
        found[place : place + len(plan.names)] = [together] * len(plan.names)
        place += len(plan.names)
    for name in preparation.features_in:
        for feature in layout.features_of(name):
            found[feature] = label[name]
    return tuple(found)
