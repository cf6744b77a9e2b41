"""Texts as few numbers: as scikit-learn's TruncatedSVD of its own vectorisers in memory, from products of chunks that drift."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline

from headrace.data.chunks import Chunk, Piece
from headrace.engine.splits import Splitter
from headrace.errors import WorkflowError
from headrace.packaging.trust import TRUSTED
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, build_transformer, fit_preparation
from headrace.preparation.latent import LATENT, TokenPass, TokenProducts, weighed_texts
from headrace.preparation.needs import finders_of
from headrace.preparation.options import PrepareOptions
from headrace.preparation.parted import found_in
from headrace.profiling.profile import profile_table
from headrace.profiling.survey import Survey, look

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = [f"w{number}" for number in range(40)]
SPLITTER = Splitter(seed=1, validation=0.3)


def drifting(rows: int = 420) -> pa.Table:
    """Texts of three subjects whose shares drift, with empty and missing ones."""
    rng = np.random.default_rng(5)
    texts: list[str | None] = []
    for row in range(rows):
        subject = int(rng.random() * 3 * (0.3 + 0.7 * row / rows))
        words = rng.choice(40, 12, p=np.roll(np.r_[np.full(14, 0.06), np.full(26, 0.16 / 26)], 13 * subject))
        texts.append(" ".join(WORDS[word] for word in words))
    texts[7], texts[90] = None, ""
    return pa.table({"text": texts, "other": texts[::-1]})


def chunks_of(table: pa.Table, count: int) -> Iterator[tuple[pa.Table, Chunk]]:
    cuts = np.linspace(0, table.num_rows, count + 1).astype(int)
    for a, b in pairwise(cuts.tolist()):
        yield table.slice(a, b - a), Chunk(a, (Piece("d", "d", (0,), b - a, a, ()),), b - a, 0, 0)


@pytest.mark.parametrize("encode", ["tfidf", "bag_of_words"])
def test_numbers_are_not_cut_to_tokens(encode: str) -> None:
    asked = PrepareOptions.model_validate({"columns": {"n": {"encode": encode}}})
    with pytest.raises(
        WorkflowError, match=r"^prepare\.columns\.n\.encode: the column is a numeric, and only text"
    ):
        finders_of(
            asked,
            pa.schema({"n": pa.int64()}),
            features=["n"],
            target=None,
            task="clustering",
            splitter=SPLITTER,
        )


def two_passes(
    table: pa.Table, chunks: int = 4, splitter: Splitter = SPLITTER, **options: Any
) -> tuple[Preparation, pa.Table]:
    """Fit as a run does, from two passes over chunks; and the rows that were learnt from."""
    asked = PrepareOptions.model_validate(options)
    features = table.column_names
    finders = finders_of(
        asked, table.schema, features=features, target=None, task="clustering", splitter=splitter
    )
    surveys, training = [], []
    for part, chunk in chunks_of(table, chunks):
        codes = splitter.parts(part, chunk)
        training.append(part.filter(pa.array(codes == 0)))
        profiles = profile_table(part, part=codes, parts=("train", "validation", "test"))
        surveys.append(Survey(profiles, look(part, chunk, finders)))
    whole = reduce(Survey.merge, surveys)
    found = found_in(whole.findings)
    texts = weighed_texts(whole.profiles["train"], asked, features, found, ("train",))
    measure = TokenPass(texts, splitter)
    products = reduce(TokenProducts.merge, [measure(part, chunk) for part, chunk in chunks_of(table, chunks)])
    again = TokenProducts.from_arrays(products.arrays())
    found = found_in({**whole.findings, LATENT: again})
    p = fit_preparation(whole.profiles["train"], asked, features=features, found=found)
    return p, pa.concat_tables(training)


@pytest.mark.parametrize("encode", ["tfidf", "bag_of_words", "text_hashing"])
@pytest.mark.parametrize("chunks", [1, 5])
def test_texts_are_reduced_as_by_scikit_learn(to_frame, encode, chunks):
    table = drifting().select(["text"])
    options = {"encode": encode, "components": 3, "ngrams": [1, 2], "hash_features": 64, "min_documents": 3}
    p, training = two_passes(table, chunks, categorical=options)
    vectorizer = {
        "tfidf": TfidfVectorizer(min_df=3, ngram_range=(1, 2)),
        "bag_of_words": CountVectorizer(min_df=3, ngram_range=(1, 2), dtype=np.float64),
        "text_hashing": HashingVectorizer(n_features=64, ngram_range=(1, 2)),
    }[encode]
    wanted = make_pipeline(vectorizer, TruncatedSVD(3, algorithm="arpack", random_state=0))
    wanted.fit([text or "" for text in training["text"].to_pylist()])
    frame = to_frame(table)
    transformer = build_transformer(p)
    got = transformer.transform(frame)
    theirs = wanted.transform([text or "" for text in table["text"].to_pylist()])
    np.testing.assert_allclose(got * np.sign((got * theirs).sum(axis=0)), theirs, rtol=1e-6, atol=1e-8)
    ours = transformer.named_transformers_["recipe_1"].steps[-1][1]
    for name in ("singular_values_", "explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(wanted[-1], name), rtol=1e-6)
    assert p.names_out == ("text_svd0", "text_svd1", "text_svd2")
    np.testing.assert_allclose(
        CompiledPreparation(p).transform(table, np.float64), got, rtol=1e-12, atol=1e-12
    )
    loaded = skops.io.loads(skops.io.dumps(transformer), trusted=list(TRUSTED))
    np.testing.assert_array_equal(loaded.transform(frame), got)
    assert Preparation.from_json(p.to_json()) == p


def test_each_text_is_reduced_apart_and_others_keep_their_tokens(to_frame):
    table = drifting()
    p, _ = two_passes(
        table,
        columns={
            "text": {"encode": "tfidf", "components": 2},
            "other": {"encode": "tfidf", "max_tokens": 30},
        },
    )
    assert p.names_out[:2] == ("text_svd0", "text_svd1")
    assert len(p.names_out) == 32
    got = build_transformer(p, dense=True).transform(to_frame(table))
    fast = CompiledPreparation(p).transform(table, np.float64)
    np.testing.assert_allclose(fast if isinstance(fast, np.ndarray) else fast.toarray(), got, atol=1e-12)
    assert "2 singular vectors of 40 tokens" in p.describe()[0]["parameters"]


def test_there_are_no_more_components_than_tokens():
    p, _ = two_passes(drifting().select(["text"]), categorical={"encode": "tfidf", "components": 500})
    assert len(p.names_out) == 40


def test_tokens_that_are_reduced_are_bounded(survey):
    table = drifting(120).select(["text"])
    for options in (
        {"encode": "tfidf", "max_tokens": 5_000},
        {"encode": "text_hashing", "hash_features": 4_096},
    ):
        with pytest.raises(WorkflowError, match=r"prepare.columns.text.*at most 2,048 tokens"):
            two_passes(table, categorical={**options, "components": 2})
    # Without the pass there are no products.
    with pytest.raises(WorkflowError, match="say it in prepare:"):
        survey(table, categorical={"encode": "tfidf", "components": 2})
