"""scikit-learn by hand: a loop over batches to learn scales and categories, and one to transform and fit.

Written as a careful user would: only the columns that are used are read, text arrives as pandas categories, numbers are
float32, and the one-hot encoder gets whole batches, once for each of the two passes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from work import ALPHA, NUMERIC, ROWS_A_BATCH, TARGET, TEXT, Clock, arguments, tell


def batches(files):
    for path in files:
        file = pq.ParquetFile(path, read_dictionary=list(TEXT))
        for batch in file.iter_batches(ROWS_A_BATCH, columns=[*NUMERIC, *TEXT, TARGET]):
            yield batch.to_pandas()


def main():
    given, clock = arguments(), Clock()
    scaler = StandardScaler()
    known = {name: set() for name in TEXT}
    rows = 0
    with clock.stage("learn"):
        for frame in batches(given.files):
            scaler.partial_fit(frame[list(NUMERIC)].to_numpy(np.float32))
            for name in TEXT:
                known[name].update(frame[name].cat.categories)
            rows += len(frame)
        categories = [sorted(known[name]) for name in TEXT]
        encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", dtype=np.float32)
        encoder.fit(frame[list(TEXT)])
    model = SGDClassifier(loss="log_loss", alpha=ALPHA, random_state=0)
    with clock.stage("fit"):
        for frame in batches(given.files):
            numbers = scaler.transform(frame[list(NUMERIC)].to_numpy(np.float32))
            np.nan_to_num(numbers, copy=False)  # after scaling, zero is the mean
            blocks = [sparse.csr_matrix(numbers), encoder.transform(frame[list(TEXT)])]
            model.partial_fit(sparse.hstack(blocks, format="csr"), frame[TARGET].to_numpy(), classes=[0, 1])
    tell(rows, clock, ["scikit-learn", "pyarrow", "pandas", "numpy"], threads=pa.cpu_count())


if __name__ == "__main__":
    main()
