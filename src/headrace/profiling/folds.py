"""Profiles of the rows that each fold learns from, merged from those of its cells (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.accumulators import merge_tree
from headrace.profiling.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.engine.splits import Splitter


def training_profile(profiles: Mapping[str, Profile], splitter: Splitter) -> Profile:
    """Return the profile of all rows that may be learnt from: with folds, of all that are not for the test."""
    if splitter.folds is None:
        return profiles["train"]
    return merge_tree([profiles[name] for name in splitter.cell_names(0)], Profile.merge)


def fold_profiles(profiles: Mapping[str, Profile], splitter: Splitter) -> tuple[Profile, ...]:
    """Return the profile of the rows that each fold learns from.

    They are merged, never subtracted: extremes and sketches cannot be taken away again, and moments would lose digits.

    Parameters
    ----------
    profiles : mapping of str to Profile
        Of every cell, by its name.
    splitter : Splitter
        With folds.

    Returns
    -------
    tuple of Profile
        In the order of the folds.
    """
    assert splitter.folds is not None, "there are profiles of folds when there are folds"
    found = []
    for fold in splitter.folds.folds:
        names = splitter.cell_names(fold.repeat)
        found.append(merge_tree([profiles[names[cell]] for cell in fold.train], Profile.merge))
    return tuple(found)


def validation_rows(profiles: Mapping[str, Profile], splitter: Splitter) -> tuple[int, ...]:
    """Count the rows by which each fold judges; without folds those of the validation part."""
    if splitter.folds is None:
        return (profiles["validation"].rows,)
    return tuple(
        sum(profiles[splitter.cell_names(fold.repeat)[cell]].rows for cell in fold.validation)
        for fold in splitter.folds.folds
    )


def part_rows(profiles: Mapping[str, Profile], splitter: Splitter) -> dict[str, int]:
    """Count the rows of every part that a run needs: train, validation, test; with folds the first two of each."""
    if splitter.folds is None:
        return {part: profile.rows for part, profile in profiles.items()}
    rows = {}
    for fold, judged in zip(splitter.folds.folds, validation_rows(profiles, splitter), strict=True):
        names = splitter.cell_names(fold.repeat)
        rows[f"{fold.name}: training"] = sum(profiles[names[cell]].rows for cell in fold.train)
        rows[f"{fold.name}: validation"] = judged
    return {**rows, "test": profiles["test"].rows}
