"""scikit-learn and joblib: the settings that headrace drew, in the same folds, with all rows in memory.

Tuned as a careful user would: words are read as codes, scales and categories are learnt once a fold and not once a fit,
rows are shuffled once and not in each fit, and threads share the prepared rows, as the loop of SGD lets go of the GIL.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from joblib import Parallel, delayed
from scipy import sparse
from search_work import FOLD, FOLDS, run_of, test_from
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell

HELD = 200_000 // FOLDS
"""Validation rows of a fold by which is scored, as many as headrace holds at most."""


def settings(given):
    """Return by name what headrace gave each candidate: what it drew, and its defaults, which are the same for all."""
    from headrace.training.candidates import GOOD_DEFAULTS

    board = json.loads((run_of(given.data) / "leaderboard.json").read_text())
    rows = [row for row in board["rows"] if not row["is_baseline"]]
    return {row["candidate"]: {**GOOD_DEFAULTS[row["estimator"]], **row["params"]} for row in rows}


def read(files):
    """Read all rows that may be learnt from, shuffled: numbers, codes of words, target, fold."""
    columns = [*NUMERIC, *TEXT, TARGET, FOLD]
    early = pc.field("time") < pa.scalar(test_from(files), pa.timestamp("ms"))
    table = pq.read_table(files, columns=columns, read_dictionary=list(TEXT), filters=early)
    table = table.unify_dictionaries()
    order = np.random.default_rng(0).permutation(len(table))
    numbers = np.empty((len(table), len(NUMERIC)), np.float32)
    for place, name in enumerate(NUMERIC):
        numbers[:, place] = table[name].to_numpy()
    words = np.empty((len(table), len(TEXT)), np.int32)
    for place, name in enumerate(TEXT):
        words[:, place] = table[name].combine_chunks().indices.fill_null(-1)
    return (
        numbers[order],
        words[order],
        table[TARGET].to_numpy()[order],
        table[FOLD].to_numpy()[order],
    )


def fit(params, X, y, Z, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SGDClassifier(**params, max_iter=1, tol=None, random_state=0).fit(X, y)
    return roc_auc_score(truth, model.predict_proba(Z)[:, 1])


def main():
    given, clock = arguments(), Clock()
    tried = settings(given)
    with clock.stage("read"):
        numbers, words, y, folds = read(given.files)
    scores = []
    for fold in range(FOLDS):
        with clock.stage("prepare"):
            learnt, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)[:HELD]
            scale = make_pipeline(SimpleImputer(), StandardScaler())
            code = OneHotEncoder(
                min_frequency=10, max_categories=300, handle_unknown="infrequent_if_exist", dtype=np.float32
            )
            dense, hot = scale.fit_transform(numbers[learnt]), code.fit_transform(words[learnt])
            X = sparse.hstack([sparse.csr_matrix(dense), hot], format="csr")
            del dense, hot
            Z = sparse.hstack(
                [sparse.csr_matrix(scale.transform(numbers[held])), code.transform(words[held])], format="csr"
            )
        with clock.stage("fit"):
            jobs = (delayed(fit)(params, X, y[learnt], Z, y[held]) for params in tried.values())
            scores.append(Parallel(n_jobs=given.workers, prefer="threads")(jobs))
        features = X.shape[1]
        del X, Z
    means = np.mean(scores, axis=0)
    tell(
        len(y),
        clock,
        ["scikit-learn", "joblib", "pyarrow", "numpy"],
        fits=len(tried) * FOLDS,
        features=features,
        scores=dict(zip(tried, means.tolist(), strict=True)),
    )


if __name__ == "__main__":
    main()
