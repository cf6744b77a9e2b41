"""scikit-learn by hand: 8 candidates x 5 folds as 40 fits one after another, as `fit_sklearn.py` does each.

Scales and categories are learnt once for each fold, from its training rows, and shared by its 8 candidates, which is more
than a loop of 40 calls would do. `FITS` in the environment ends the loop earlier; the time is then scaled up, and said so.
"""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
from fit_sklearn import batches
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell

ALPHAS = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
FOLDS = 5
HELD = 40_000
"""Validation rows of a fold by which is scored, as many as headrace holds."""


def folded(files):
    rng = np.random.default_rng(0)
    for frame in batches(files):
        yield frame, rng.integers(0, FOLDS, len(frame))


def prepared(frame, scaler, encoder):
    numbers = scaler.transform(frame[list(NUMERIC)].to_numpy(np.float32))
    np.nan_to_num(numbers, copy=False)  # after scaling, zero is the mean
    return sparse.hstack([sparse.csr_matrix(numbers), encoder.transform(frame[list(TEXT)])], format="csr")


def main():
    given, clock = arguments(), Clock()
    fits = int(os.environ.get("FITS", len(ALPHAS) * FOLDS))
    done = rows = 0
    scores = {alpha: [] for alpha in ALPHAS}
    for fold in range(FOLDS):
        if done == fits:
            break
        scaler, known, rows = StandardScaler(), {name: set() for name in TEXT}, 0
        with clock.stage("learn"):
            for frame, folds in folded(given.files):
                scaler.partial_fit(frame[list(NUMERIC)].to_numpy(np.float32)[folds != fold])
                for name in TEXT:
                    known[name].update(frame[name].cat.categories)
                rows += len(frame)
            categories = [sorted(known[name]) for name in TEXT]
            encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", dtype=np.float32)
            encoder.fit(frame[list(TEXT)])
        for alpha in ALPHAS:
            if done == fits:
                break
            model, held, truth, count = SGDClassifier(loss="log_loss", alpha=alpha, random_state=0), [], [], 0
            with clock.stage("fit"):
                for frame, folds in folded(given.files):
                    train = frame[folds != fold]
                    model.partial_fit(
                        prepared(train, scaler, encoder), train[TARGET].to_numpy(), classes=[0, 1]
                    )
                    if count < HELD:
                        judged = frame[folds == fold].head(HELD - count)
                        held.append(prepared(judged, scaler, encoder))
                        truth.append(judged[TARGET].to_numpy())
                        count += len(judged)
                said = model.predict_proba(sparse.vstack(held))[:, 1]
                scores[alpha].append(roc_auc_score(np.concatenate(truth), said))
            done += 1
    if done < len(ALPHAS) * FOLDS:
        clock.stages = {name: seconds * len(ALPHAS) * FOLDS / done for name, seconds in clock.stages.items()}
    best = max((np.mean(found), alpha) for alpha, found in scores.items() if found)
    tell(
        rows,
        clock,
        ["scikit-learn", "pyarrow", "pandas", "numpy"],
        threads=pa.cpu_count(),
        fits=done,
        best={"roc_auc": float(best[0]), "alpha": best[1]},
    )


if __name__ == "__main__":
    main()
