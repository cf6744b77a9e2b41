"""A profile written line by line is the document that is read back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from headrace.profiling.profile import Profile, profile_table
from headrace.profiling.writing import profile_lines


def test_the_lines_are_the_document_with_a_line_for_each_column() -> None:
    table = pa.table({"x": [1.5, np.inf, None], 'na"me\n': ["é", "b", "b"], "y": [0, 1, 0]})
    profile = profile_table(table, target="y", gram=True)["all"]
    text = b"".join(profile_lines(profile))
    assert json.loads(text) == profile.to_dict()
    assert len(text.splitlines()) == 2 + len(profile.columns)
    assert Profile.from_json(text.decode()).to_dict() == profile.to_dict()


def test_no_columns_are_a_document_too() -> None:
    assert json.loads(b"".join(profile_lines(Profile(3, {})))) == Profile(3, {}).to_dict()
