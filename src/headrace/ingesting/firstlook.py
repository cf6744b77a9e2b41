"""Types from a first look at columns of text: what most values are, and in which way they are written (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.ingesting import moments
from headrace.ingesting.columns import FALSE, KINDS, TRUE, ColumnPlan, Layout
from headrace.ingesting.texts import ZONE, number_pattern, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.ingesting.options import ColumnOptions

SIGNS = ((".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'"))
"""Decimal sign and sign between thousands, in the order in which they are tried."""
WORDS = [word for word in TRUE + FALSE if len(word) > 1]
"""Single letters are not taken for true or false before they are declared."""
LEADING_ZERO = r"^[-+]?0[0-9]"
NEAR = 0.5
"""A column that is text, but of which this share is of a type, is told of."""


@dataclass(frozen=True)
class Guess:
    """A type that fits some of the values."""

    plan: ColumnPlan
    """The column, were it of this type."""
    share: float
    """Share of the values that are."""
    note: str = ""
    """What was decided between equals."""


def first_look(
    sample: pa.Table, declared: Mapping[str, ColumnOptions], drop: Iterable[str], agreement: float
) -> Layout:
    """Find the type of each column of text.

    Parameters
    ----------
    sample : pyarrow.Table
        Columns of strings; null is a missing value.
    declared : mapping of str to ColumnOptions
        Types that are known already; a declared column that the sample lacks is added.
    drop : iterable of str
        Columns that are left out.
    agreement : float
        Share of the values that must be of a type.
    """
    columns, notes = [], []
    left_out = set(drop)
    for name in sample.column_names:
        if name in left_out:
            continue
        if name in declared:
            columns.append(declared_plan(name, declared[name]))
            continue
        guess = _best(name, sample[name].combine_chunks(), agreement)
        columns.append(guess.plan)
        notes += [guess.note] if guess.note else []
    missing = [name for name in declared if name not in sample.column_names and name not in left_out]
    columns += [declared_plan(name, declared[name]) for name in missing]
    notes += [f"{name}: declared, but not in the first look" for name in missing]
    return Layout(tuple(columns), tuple(notes))


def declared_plan(name: str, column: ColumnOptions) -> ColumnPlan:
    """Return what a user declared of a column."""
    return ColumnPlan(name, KINDS[column.type], column.formats, column.decimal, column.thousands)


def _best(name: str, texts: pa.Array, agreement: float) -> Guess:
    text = ColumnPlan(name, pa.string())
    values = pc.utf8_trim_whitespace(texts.drop_null())
    if not len(values):
        return Guess(text, 1.0, f"{name}: no value in the first look; read as text")
    nearest = Guess(text, 0.0)
    for guess in (_boolean(name, values), _number(name, values), _moment(name, values, agreement)):
        if guess.share >= agreement:
            rest = f"{name}: {guess.share:.1%} of the first look are {guess.plan.type}; the rest goes to quarantine"
            return Guess(guess.plan, guess.share, guess.note or (rest if guess.share < 1 else ""))
        if guess.note:
            return Guess(text, 1.0, guess.note)
        nearest = max(nearest, guess, key=lambda each: each.share)
    if nearest.share >= NEAR:
        note = (
            f"{name}: text, for only {nearest.share:.1%} are {nearest.plan.type}; declare columns.{name}, or add what "
            "means missing to null_values"
        )
        return Guess(text, 1.0, note)
    return Guess(text, 1.0)


def _boolean(name: str, values: pa.Array) -> Guess:
    return Guess(ColumnPlan(name, pa.bool_()), _share(pc.is_in(values, pa.array(WORDS))))


def _number(name: str, values: pa.Array) -> Guess:
    """Numbers in the way of writing that most keep to; with leading zeros they are codes, not numbers."""
    if pc.any(pc.match_substring_regex(values, LEADING_ZERO)).as_py():
        return Guess(ColumnPlan(name, pa.string()), 0.0)
    spaced = pc.replace_substring_regex(values, "[\u00a0\u202f]", " ")
    best = Guess(ColumnPlan(name, pa.string()), 0.0)
    for decimal, thousands in SIGNS:
        fits = pc.match_substring_regex(spaced, number_pattern(decimal, thousands))
        share = _share(fits)
        if best.share == 1:
            break
        if share > best.share:
            whole = not pc.any(pc.match_substring_regex(values.filter(fits), rf"[{decimal}eE]")).as_py()
            plan = ColumnPlan(name, pa.int64() if whole else pa.float64(), (), decimal, thousands)
            best = Guess(plan, share)
    if pa.types.is_integer(best.plan.type):
        _, bad = typed(values, best.plan)
        if bad.mean() > 1 - best.share + 1e-9:  # more digits than 64 bits hold
            best = Guess(
                ColumnPlan(name, pa.float64(), (), best.plan.decimal, best.plan.thousands), best.share
            )
    return best


def _moment(name: str, values: pa.Array, agreement: float) -> Guess:
    """Dates and times: formats are taken, the one that fits most first, until enough are understood."""
    if _share(pc.match_substring_regex(values, moments.LIKE_ONE)) < NEAR:
        return Guess(ColumnPlan(name, pa.string()), 0.0)
    zoned = ColumnPlan(name, pa.timestamp("us", tz="UTC"))
    if pc.any(pc.match_substring_regex(values, f"[0-9]{ZONE}")).as_py():
        _, bad = typed(values, zoned)
        if 1 - bad.mean() >= agreement:
            return Guess(zoned, float(1 - bad.mean()))
    candidates = [*moments.ISO, *(date + time for time in moments.TIMES for date in moments.DATES)]
    fits = {text: moments.parse(values, text)[1] for text in candidates}
    fits = {text: mask for text, mask in fits.items() if mask.any()}
    note = _decide_day_or_month(name, fits)
    taken: list[str] = []
    understood = np.zeros(len(values), dtype=bool)
    while fits and understood.mean() < 1:
        text = max(fits, key=lambda each: int((fits[each] & ~understood).sum()))
        mask = fits.pop(text)
        if not (mask & ~understood).any():
            break
        taken.append(text)
        understood |= mask
    timed = any(moments.has_time(text) for text in taken)
    kind = pa.timestamp("us") if timed else pa.date32()
    iso = all(text in moments.ISO for text in taken)
    plan = ColumnPlan(name, kind, () if iso else tuple(taken))
    return Guess(plan, float(understood.mean()), note)


def _decide_day_or_month(name: str, fits: dict[str, np.ndarray]) -> str:
    """Of formats that differ in whether the day or the month comes first, keep what the values show; tell when none."""
    note = ""
    for text in [each for each in fits if each.startswith("%d") and each[2] in "/-." and each[3:5] == "%m"]:
        other = f"%m{text[2]}%d{text[5:]}"
        if other not in fits:
            continue
        days, months = int(fits[text].sum()), int(fits[other].sum())
        if days == months:
            del fits[text], fits[other]
            note = f"{name}: 01{text[2]}02 can be January or February; text until columns.{name} declares its formats"
        else:
            del fits[other if days > months else text]
    return note


def _share(mask: pa.Array) -> float:
    return float(np.asarray(mask).mean())
