"""The reference of preprocessing: a line for each way, and every line can be written in a workflow file."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from headrace.preparation import options
from headrace.preparation.meanings import MEANINGS
from headrace.preparation.options import PrepareOptions


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location(
        "generate", Path(__file__).parents[2] / "docs" / "generate.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_the_reference_is_taken_by_the_options(generate):
    lines = re.findall(r"^\| `prepare: (.*?)` \| (.+) \|$", generate.preprocessing(), re.MULTILINE)
    assert len(lines) > 60
    for text, words in lines:
        PrepareOptions.model_validate(yaml.safe_load(text))
        assert len(words) > 5


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("impute", options.Impute),
        ("scale", options.Scale),
        ("transform", options.Transform),
        ("outliers", options.Outliers),
        ("encode", options.Encode),
        ("cycles", options.Cycles),
        ("missing", options.MissingCategory),
        ("by", options.SelectOptions.model_fields["by"].annotation),
        ("method", options.ReduceOptions.model_fields["method"].annotation),
    ],
)
def test_every_word_has_its_meaning(key, words):
    assert set(MEANINGS[key]) == set(get_args(words))
