from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from headrace.packaging.trust import dump_pipeline, load_pipeline
from headrace.preparation.encoders import ENCODERS


@pytest.mark.parametrize("odd", ["plain", "x" * 300, "ends with\0"])
def test_many_values_are_written_as_one_block_and_answer_the_same(odd: str) -> None:
    """skops writes an object for each word of an array of objects, 10 kB each: a million would not fit."""
    words = sorted([f"customer-{number:06}" for number in range(20_000)] + [odd])
    shares = np.random.default_rng(0).random(len(words))
    learnt = {"categories": words, "encodings": [shares.tolist()], "rest": [0.5]}
    encoder = ENCODERS["encode"](learnt, pd.DataFrame({"who": ["x"]}))
    asked = pd.DataFrame({"who": [words[7], odd, "nobody", words[7] + "0"]})
    answers = encoder.transform(asked).ravel()
    assert answers.tolist() == [shares[7], shares[words.index(odd)], 0.5, 0.5]
    assert (encoder.categories_[0].dtype.kind == "U") == (odd == "plain")
    if odd == "plain":
        written = dump_pipeline(make_pipeline(encoder))
        assert len(zipfile.ZipFile(io.BytesIO(written)).namelist()) < 10
        loaded = load_pipeline(written, where="w.skops")
        assert loaded.transform(asked).ravel().tolist() == answers.tolist()
