"""Words looked up in an encoding: what the fitted pipeline of scikit-learn gives, of any words and folds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.preparation.crossfit import RowHashes
from headrace.preparation.general import GeneralSlot, frame_of
from headrace.preparation.lookups import Lookup
from headrace.preparation.recipes import RecipePlan, Step
from headrace.preparation.steps import build_recipe

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
TYPES = st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])


def plan_of(categories: list[str], outputs: int, folds: int, seed: int = 0) -> RecipePlan:
    rng = np.random.default_rng(seed)

    def learnt() -> dict[str, list[object]]:
        encodings = rng.normal(size=(outputs, len(categories))).tolist()
        return {"encodings": encodings, "rest": rng.normal(size=outputs).tolist()}

    several = {"labels": [f"class {k}" for k in range(outputs)]} if outputs > 1 else {}
    encode = {"categories": categories, **several, **learnt(), "folds": [learnt() for _ in range(folds)]}
    names = tuple(f"w{k}" for k in range(outputs))
    return RecipePlan(
        "w", "string", ("w",), (Step("fill_words"), Step("encode", encode)), names, stored=outputs
    )


@given(
    categories=st.sets(WORDS, min_size=1, max_size=8),
    words=st.lists(st.none() | WORDS, min_size=1, max_size=12),
    outputs=st.sampled_from([1, 3]),
    kind=TYPES,
)
@settings(max_examples=40, deadline=None)
def test_words_become_what_the_pipeline_gives(
    categories: set[str], words: list[str | None], outputs: int, kind: pa.DataType
) -> None:
    known = sorted({*categories, "missing"})
    plan = plan_of(known, outputs, folds=3)
    asked = [*words, *known[:3], "missing", None]
    table = pa.table({"w": pa.array(asked, pa.string()).cast(kind)})
    got = GeneralSlot([plan], 0).complete(np.empty((len(asked), outputs)), table, np.float64)
    np.testing.assert_array_equal(got, build_recipe(plan).transform(frame_of(table, plan)))


def test_training_rows_get_what_the_other_folds_say() -> None:
    plan = plan_of(["a", "b", "missing"], outputs=1, folds=4)
    table = pa.table({"w": pa.array(["a", "b", None, "new"] * 50)})
    training = RowHashes(np.random.default_rng(0).integers(0, 2**64, 200, np.uint64), seed=3)
    got = GeneralSlot([plan], 0).complete(np.empty((200, 1)), table, np.float64, training)
    folds = training.folds(4)
    assert set(folds) == {0, 1, 2, 3}
    for fold in range(4):
        here = folds == fold
        wanted = build_recipe(plan.of_fold(fold)).transform(frame_of(table.filter(pa.array(here)), plan))
        np.testing.assert_array_equal(got[here], wanted)


@pytest.mark.parametrize("sorts", [("numbers", "encode"), ("fill_words", "encode", "scale"), ("scale",)])
def test_other_recipes_are_left_to_their_pipelines(sorts: tuple[str, ...]) -> None:
    kind = "numeric" if sorts[0] == "numbers" else "string"
    plan = RecipePlan("w", kind, ("w",), tuple(Step(sort) for sort in sorts), ("w",), stored=1)
    assert Lookup.of(plan) is None
