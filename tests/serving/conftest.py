"""A small package with an ONNX file, and one without, of the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from headrace.packaging.exports.files import exports_of
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import read_package, write_package
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table

if TYPE_CHECKING:
    from headrace.packaging.package import Package


def training_rows(rows: int = 400, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    seconds = rng.integers(1_356_998_400, 1_388_534_400, rows)
    return pa.table(
        {
            "size": pa.array(rng.normal(10, 2, rows), mask=rng.random(rows) < 0.1),
            "count": pa.array(rng.integers(0, 9, rows)),
            "flag": pa.array(rng.random(rows) < 0.3),
            "city": pa.array(rng.choice(["Oslo", "São Paulo", "b"], rows)),
            "at": pa.array(seconds.astype("datetime64[s]").astype("datetime64[us]")),
        }
    )


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    place = tmp_path_factory.mktemp("packages")
    data = training_rows()
    profile = profile_table(data)["all"]
    preparation = fit_preparation(profile, PrepareOptions(), features=list(profile.columns))
    transformer = build_transformer(preparation, dense=True)
    inputs = tuple(_input(name, column) for name, column in profile.columns.items())
    signature = Signature(inputs, "classification", "late", ("no", "yes"))
    X = transformer.transform(to_frame(to_table(data, inputs)))
    y = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    pipeline = Pipeline([("prepare", transformer), ("model", model)])
    exports = exports_of(pipeline, signature, profile)
    for name, files, gates in (("onnx", exports.files, exports.gates), ("plain", {}, {})):
        write_package(
            place / name,
            pipeline=pipeline,
            signature=signature,
            profile=profile.to_dict(),
            metrics={"rows": 1, "metrics": {}, "slices": {}},
            provenance={},
            card={"name": "late"},
            exports=files,
            gates=gates,
        )
    return {name: read_package(place / name) for name in ("onnx", "plain")}


def _input(name: str, column: Any) -> InputColumn:
    moments = column.overall.moments
    low = high = None
    if column.kind in {"numeric", "datetime"}:
        low, high = moments.minimum, moments.maximum
        if column.kind == "datetime":
            low, high = column.shown(low), column.shown(high)
    return InputColumn(name, column.type, column.kind, column.overall.missing > 0, low, high)
