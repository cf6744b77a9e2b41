"""Nested folds on the page: what was chosen in each fold, and what the choice reaches."""

from __future__ import annotations

from headrace.report.choices import Choice, nested_choices

CHOICE = {
    "fold": "fold 1",
    "candidate": "a 3",
    "params": {"alpha": 0.1},
    "prepare": {"numeric.scale": "none"},
}


def test_choices_are_told_with_their_settings_and_both_scores() -> None:
    nested = {"value": 0.75, "interval": [0.7, 0.8], "choices": [{**CHOICE, "inner": 0.81, "score": 0.75}]}
    found = nested_choices({"nested": nested})
    assert found is not None
    assert (found.score, found.interval) == ("0.7500", "0.7000 to 0.8000")
    assert found.choices == (Choice("fold 1", "a 3", "alpha=0.1, numeric.scale=none", "0.8100", "0.7500"),)


def test_one_fold_has_no_interval_and_others_are_not_nested() -> None:
    found = nested_choices({"nested": {"value": 0.75, "interval": None, "choices": []}})
    assert found is not None
    assert found.interval == ""
    assert nested_choices({"nested": None}) is None
    assert nested_choices({}) is None
