from __future__ import annotations

import numpy as np
import pytest

from headrace.errors import PackageError
from headrace.packaging.package import read_package
from headrace.packaging.scores import SCORES, read_scores, scores_file

COLUMNS = {
    "key": np.array([1, 2**64 - 1], dtype=np.uint64),
    "label": np.array([0.0, 1.0]),
    "weight": np.array([1.0, 0.25]),
    "score": np.array([1e-300, 0.1 + 0.2]),
    "predicted": np.array([0.0, 0.0]),
}


@pytest.mark.parametrize("left_out", [set(), {"predicted"}])
def test_scores_come_back_as_they_were(tmp_path, fitted, write_model, left_out):
    columns = {name: values for name, values in COLUMNS.items() if name not in left_out}
    write_model(tmp_path / "m", fitted("sgd-classifier"), exports={SCORES: scores_file(columns)})
    read = read_scores(read_package(tmp_path / "m"))
    assert read is not None
    assert read.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(read[name], values)


def test_a_package_without_scores_has_none(package):
    assert read_scores(read_package(package)) is None


def test_another_file_of_that_name_is_refused(tmp_path, fitted, write_model):
    write_model(tmp_path / "m", fitted("sgd-classifier"), exports={SCORES: b"PAR0"})
    with pytest.raises(PackageError, match=r"scores\.parquet cannot be read"):
        read_scores(read_package(tmp_path / "m"))
