"""Ray Data: its imputer, scaler and one-hot encoder, with batches into partial_fit of the same SGDClassifier."""

from __future__ import annotations

import numpy as np
import ray
from ray.data.preprocessors import Chain, OneHotEncoder, SimpleImputer, StandardScaler
from sklearn.linear_model import SGDClassifier
from work import ALPHA, NUMERIC, ROWS_A_BATCH, TARGET, TEXT, Clock, arguments, tell


def main():
    given, clock = arguments(), Clock()
    ray.init(num_cpus=given.workers, include_dashboard=False, log_to_driver=False)
    steps = Chain(SimpleImputer(list(NUMERIC)), StandardScaler(list(NUMERIC)), OneHotEncoder(list(TEXT)))
    model = SGDClassifier(loss="log_loss", alpha=ALPHA, random_state=0)
    with clock.stage("fit"):
        data = ray.data.read_parquet(given.files, columns=[*NUMERIC, *TEXT, TARGET])
        rows = 0
        for batch in steps.fit_transform(data).iter_batches(batch_size=ROWS_A_BATCH, batch_format="numpy"):
            target = batch.pop(TARGET)
            model.partial_fit(
                np.column_stack([np.asarray(list(column)) for column in batch.values()]), target, [0, 1]
            )
            rows += len(target)
    ray.shutdown()
    tell(rows, clock, ["ray", "scikit-learn"])


if __name__ == "__main__":
    main()
