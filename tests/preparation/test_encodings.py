"""Words and texts to numbers: as scikit-learn's encoders in memory; and a row's own target never encodes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
import skops.io
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import TargetEncoder

from headrace.errors import DataError, WorkflowError
from headrace.packaging.trust import TRUSTED
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, build_transformer

TEXTS = ["the cat sat", "the dog sat", "a cat and a dog", "", None, "The bird", "dog dog bird", "the cat"]


def dense(matrix: Any) -> Any:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)


def both(p: Preparation, table: pa.Table, to_frame: Any) -> Any:
    """What the transformer gives, after it is held equal to the compiled path and to itself from a file."""
    frame = to_frame(table)
    transformer = build_transformer(p)
    got = dense(transformer.transform(frame))
    np.testing.assert_allclose(dense(CompiledPreparation(p).transform(table, np.float64)), got, rtol=1e-12)
    loaded = skops.io.loads(skops.io.dumps(transformer), trusted=list(TRUSTED))
    np.testing.assert_array_equal(dense(loaded.transform(frame)), got)
    again = Preparation.from_json(p.to_json())
    assert again == p
    np.testing.assert_array_equal(dense(build_transformer(again).transform(frame)), got)
    return got


def drifting(rows: int, seed: int = 0, categories: int = 12) -> pa.Table:
    """Categories whose frequencies and targets drift from chunk to chunk, with gaps."""
    rng = np.random.default_rng(seed)
    place = (
        np.sort(rng.integers(0, categories, rows) + rng.normal(0, 2, rows)).round().astype(int) % categories
    )
    word = np.array([f"w{i}" for i in range(categories)], dtype=object)[place]
    noise = rng.normal(size=rows)
    return pa.table(
        {
            "word": pa.array(word, mask=rng.random(rows) < 0.05).dictionary_encode(),
            "code": pa.array(place * 7, mask=rng.random(rows) < 0.05),
            "amount": place + noise,
            "label": np.where(place + 4 * noise > categories / 2, "late", "fine"),
            "three": np.array(["a", "b", "c"])[(place + (noise > 0)) % 3],
        }
    )


@pytest.mark.parametrize("smooth", ["auto", 8.0])
@pytest.mark.parametrize("target", ["amount", "label", "three"])
def test_target_encoding_is_that_of_scikit_learn(survey, to_frame, target, smooth):
    table = drifting(700).select(["word", target])
    task = "regression" if target == "amount" else "classification"
    p = survey(table, target, task, categorical={"encode": "target", "smooth": smooth})
    got = both(p, table, to_frame)
    frame = to_frame(table)
    word = frame[["word"]].astype(object).fillna("missing")
    wanted = TargetEncoder(smooth=smooth).fit(word, frame[target]).transform(word)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)
    names = ("word_a", "word_b", "word_c") if target == "three" else ("word",)
    assert p.names_out == names


def test_unseen_categories_get_the_mean_of_all(survey, to_frame):
    table = drifting(300).select(["word", "amount"])
    p = survey(table, "amount", "regression", categorical={"encode": "target"})
    new = pa.table({"word": pa.array(["never", None], pa.string())})
    got = both(p, new, to_frame)[:, 0]
    assert got[0] == pytest.approx(np.mean(table["amount"].to_numpy()))
    assert got[1] != got[0]


def test_codes_are_encoded_as_words_are(survey, to_frame):
    table = drifting(400).select(["code", "amount"])
    p = survey(table, "amount", "regression", columns={"code": {"encode": "target", "smooth": 0.0}})
    frame = to_frame(table)
    means = frame.groupby("code")["amount"].mean()
    present = frame["code"].notna()
    got = both(p, table, to_frame)[:, 0]
    np.testing.assert_allclose(got[present], means[frame["code"][present]])
    # A missing code has no category: it gets the mean of the rows that have one.
    np.testing.assert_allclose(got[~present], frame["amount"][present].mean())


def test_training_rows_are_encoded_by_the_other_folds(survey, to_frame, hashes):
    table = drifting(500).select(["word", "amount"])
    p = survey(table, "amount", "regression", categorical={"encode": "target", "folds": 4, "smooth": 3.0})
    training = hashes(table)
    # Rows are named by their chunk, and so the folds of the second and third chunk are not those of one chunk.
    fold = np.concatenate([hashes_at(a, b).folds(4) for a, b in ((0, 166), (166, 333), (333, 500))])
    assert (fold == training.folds(4)).all()
    got = CompiledPreparation(p).transform(table, np.float64, training=training)[:, 0]
    frame = to_frame(table)
    word = frame[["word"]].astype(object).fillna("missing")
    for number in range(4):
        here = fold == number
        encoder = TargetEncoder(smooth=3.0).fit(word[~here], frame["amount"][~here])
        np.testing.assert_allclose(got[here], encoder.transform(word[here])[:, 0], rtol=1e-9)


def hashes_at(start: int, stop: int) -> Any:
    from headrace.data.chunks import Chunk, Piece
    from headrace.engine.order import row_keys
    from headrace.preparation.crossfit import RowHashes

    piece = Piece("data.parquet", "data.parquet", (0,), stop - start, start, ())
    return RowHashes(row_keys(Chunk(0, (piece,), stop - start, 0, 0)), 1)


def test_a_random_column_of_many_values_tells_nothing_in_training(survey, hashes):
    rng = np.random.default_rng(5)
    rows = 6_000
    table = pa.table({"id": [f"u{i}" for i in rng.integers(0, 3_000, rows)], "y": rng.integers(0, 2, rows)})
    p = survey(table, "y", categorical={"encode": "target", "smooth": 0.0})
    fast = CompiledPreparation(p)
    y = table["y"].to_numpy()
    leaking = roc_auc_score(y, fast.transform(table)[:, 0])
    honest = roc_auc_score(y, fast.transform(table, training=hashes(table))[:, 0])
    assert leaking > 0.8
    assert abs(honest - 0.5) < 0.03


def test_frequencies_are_shares_of_the_rows(survey, to_frame):
    table = drifting(400).select(["word"])
    p = survey(table, categorical={"encode": "frequency"})
    shares = to_frame(table)["word"].astype(object).fillna("missing").value_counts(normalize=True)
    got = both(p, table, to_frame)[:, 0]
    np.testing.assert_allclose(got, to_frame(table)["word"].astype(object).fillna("missing").map(shares))
    assert both(p, pa.table({"word": ["never"]}), to_frame).tolist() == [[0.0]]


def test_of_too_many_values_the_rare_ones_go_and_the_error_is_told(survey):
    words = [f"rare{i}" for i in range(3000)] + ["often"] * 500
    table = pa.table({"word": np.random.default_rng(0).permutation(words)})
    p = survey(table, categorical={"encode": "frequency", "max_values": 100})
    learnt = p.columns[0].steps[-1].learnt
    assert learnt["categories"] == ["often"]
    assert learnt["encodings"][0][0] == pytest.approx(500 / 3500)
    assert "too low by at most" in p.describe()[0]["parameters"]


def test_hashing_is_that_of_scikit_learn(prepare, to_frame):
    table = pa.table({"word": pa.array(["new york", "york", None, "a\nb", ""] * 5)})
    p = prepare(table, categorical={"encode": "hashing", "hash_features": 16})
    got = both(p, table, to_frame)
    vectorizer = HashingVectorizer(n_features=16, token_pattern=r"(?s).+", lowercase=False, norm=None)
    np.testing.assert_array_equal(got, vectorizer.transform([w if w is not None else "missing" for w in table["word"].to_pylist()]).toarray())  # fmt: skip
    assert p.names_out[:2] == ("word_hash0", "word_hash1")


@pytest.mark.parametrize("encode", ["tfidf", "bag_of_words", "text_hashing"])
@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2)])
def test_texts_are_weighted_as_by_scikit_learn(survey, to_frame, encode, ngrams):
    table = pa.table({"text": TEXTS * 4})
    options = {"encode": encode, "ngrams": ngrams, "min_documents": 8, "hash_features": 32}
    p = survey(table, chunks=5, categorical=options)
    texts = [text or "" for text in table["text"].to_pylist()]
    wanted = {
        "tfidf": TfidfVectorizer(min_df=8, ngram_range=ngrams),
        "bag_of_words": CountVectorizer(min_df=8, ngram_range=ngrams),
        "text_hashing": HashingVectorizer(n_features=32, ngram_range=ngrams),
    }[encode].fit_transform(texts)
    np.testing.assert_allclose(both(p, table, to_frame), wanted.toarray(), rtol=1e-12)


def test_the_most_frequent_tokens_are_kept(survey):
    table = pa.table({"text": ["aa aa bb", "bb cc dd", "aa cc"] * 3})
    p = survey(table, categorical={"encode": "tfidf", "max_tokens": 2})
    assert p.names_out == ("text_aa", "text_bb")


def test_texts_without_a_frequent_token_are_refused(survey):
    with pytest.raises(DataError, match="no token stands in 9 rows"):
        survey(pa.table({"text": TEXTS}), categorical={"encode": "tfidf", "min_documents": 9})


def test_counts_that_were_not_taken_are_asked_for(prepare):
    with pytest.raises(WorkflowError, match="say it in prepare:"):
        prepare(pa.table({"text": TEXTS}), categorical={"encode": "tfidf"})
