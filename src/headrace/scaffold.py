"""A first workflow file for data that have just been profiled: guesses, each with its reason as a comment (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from headrace.errors import DataError
from headrace.profiling.checks import check_profile
from headrace.profiling.outcomes import moment_of, value_of
from headrace.profiling.privacy import personal_columns

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

MOST_LABELS = 20
"""Distinct whole numbers up to which a target is taken for classes."""
TEST_SHARE = 0.2
MOST_EXPECTATIONS = 40


@dataclass(frozen=True)
class Guess:
    """What the profile suggests, before it is written."""

    task: str
    metric: str
    at_least: float
    time: str | None
    test_from: str | None
    drop: tuple[tuple[str, str], ...]
    """Columns, each with the reason."""


def write_workflow(profile: Profile, *, url: str, target: str) -> str:
    """Write a workflow file from a profile of its data.

    Parameters
    ----------
    profile : Profile
        Of all rows, with `target` as its target.
    url : str
        Where the data are.
    target : str
        The column to predict.

    Returns
    -------
    str
        YAML with comments, which `headrace.workflow.load_workflow` reads.

    Raises
    ------
    DataError
        The target cannot be learnt: it is missing in some rows or takes one value only.
    """
    report = check_profile(profile, target=target)
    for check in report.having("fail"):
        if check.name in {"target", "balance"}:
            raise DataError(check.figure, where=f"target {target!r}", mend=check.detail)
    guess = _guess(profile, target)
    return "\n".join(
        [
            *_problem(profile, guess, url, target),
            *_data(guess, url),
            *_pii(profile),
            *_checks(profile, guess, target),
            *_rest(profile, guess),
        ]
    )


def _pii(profile: Profile) -> list[str]:
    """Name columns that may tell about persons; as a comment, since only the user can say what they are needed for."""
    personal = personal_columns(profile)
    if not personal:
        return []
    return [
        "# These may tell about persons. Each can be: drop, mask, {kind: hash, key: env:NAME}, {kind: bin, width: 5},",
        "# {kind: period, to: year} or {kind: prefix, characters: 2}.",
        "# pii:",
        "#   columns:",
        *(f"#     {_quoted(name)}: drop  # {_comment(why)}" for name, why in personal.items()),
        "",
    ]


def _guess(profile: Profile, target: str) -> Guess:
    column = profile.columns[target]
    whole = column.overall
    labels = round(column.distinct)
    floating = column.kind == "numeric" and not whole.integers_only
    if column.kind in {"datetime", "other"}:
        raise DataError(
            f"is {column.type}, which cannot be predicted", where=f"target {target!r}", mend="choose another"
        )
    if column.kind == "numeric" and (floating or labels > MOST_LABELS):
        task, metric, at_least = "regression", "r2", 0.0
    elif labels == 2:
        task, metric, at_least = "classification", "roc_auc", 0.5
    else:
        task, metric = "classification", "accuracy"
        # better than always saying the most frequent class, by a little
        at_least = round(max(count for _, count in column.top(1)) / max(1, whole.valid), 2)
    time, test_from = _time(profile, target)
    return Guess(task, metric, at_least, time, test_from, tuple(_drops(profile, target, task, time)))


def _time(profile: Profile, target: str) -> tuple[str | None, str | None]:
    """Choose the time column with the most different times, and the day from which the last fifth of the rows is."""
    times = [
        column for name, column in profile.columns.items() if column.kind == "datetime" and name != target
    ]
    times = [column for column in times if column.overall.valid and not column.overall.missing]
    if not times:
        return None, None
    column = max(times, key=lambda column: column.distinct)
    sketch = column.overall.quantiles
    if sketch is None:
        return None, None
    moment = moment_of(column, float(sketch.quantile(1 - TEST_SHARE)))
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    for start, text in ((day, f"{day:%Y-%m-%d}"), (moment, f"{moment:%Y-%m-%dT%H:%M:%S}")):
        if 0.5 < float(sketch.cdf(value_of(column, start))) < 0.95:
            return column.name, text
    return column.name, None


def _drops(profile: Profile, target: str, task: str, time: str | None) -> list[tuple[str, str]]:
    reasons = {
        "all-null": "holds nothing",
        "constant": "tells nothing",
        "identifier": "looks like an identifier",
    }
    found: dict[str, str] = {}
    report = check_profile(profile, target=target, task=task, time=time)
    for check in report.checks:
        if check.status != "pass" and check.column and check.column not in {target, time}:
            if check.name in reasons:
                found.setdefault(check.column, f"{reasons[check.name]}: {check.figure}")
            elif check.name == "leakage" and check.status == "fail":
                found.setdefault(
                    check.column, f"tells the target alone ({check.figure}): is it known in time?"
                )
    for name, column in profile.columns.items():
        if name != target and column.kind == "other":
            found.setdefault(name, f"{column.type} cannot be a feature as it is")
    return [(name, found[name]) for name in profile.columns if name in found]


def _problem(profile: Profile, guess: Guess, url: str, target: str) -> list[str]:
    name = re.sub(r"[^a-z0-9_.-]+", "-", target.lower()).strip("-.")[:60] or "model"
    labels = ", ".join(f"{label}: {count:,} rows" for label, count in list(profile.classes.items())[:6])
    seen = f"{profile.rows:,} rows" + (f"; {labels}" if labels and guess.task == "classification" else "")
    return [
        f"# A first workflow for {_comment(url)}, guessed from a profile of it. Read it, then:",
        "#   headrace plan THIS_FILE     passes, bytes and memory, before anything runs",
        "#   headrace run THIS_FILE      profile, check, prepare, train, evaluate, publish, report",
        "# The keys of this file, for editors that complete them: headrace schema > workflow.schema.json",
        "",
        "problem:",
        f"  name: {_quoted(name if re.match('[a-z0-9]', name) else f'm{name}')}  # the model's name in the registry",
        '  objective: ""  # what will somebody do better with the prediction?',
        f"  statement: {_quoted(f'Predict {target} from the other columns.')}  # of which rows, known when?",
        f"  task: {guess.task}  # {_comment(_why(profile, target))}; {_comment(seen)}",
        f"  target: {_quoted(target)}",
        "  # The verdict of a run: raise the bound to what would be worth using.",
        f"  success: [{{metric: {guess.metric}, at_least: {guess.at_least}}}]",
        '  data_needs: ""  # which data, from where, how fresh?',
        "  risks: []  # what may go wrong in use?",
        "",
    ]


def _why(profile: Profile, target: str) -> str:
    column = profile.columns[target]
    return f"{column.type} with {'' if column.overall.distinct.exact else 'about '}{column.distinct:,.0f} distinct values"


def _data(guess: Guess, url: str) -> list[str]:
    lines = ["data:", f"  url: {_quoted(url)}"]
    if guess.time is not None:
        lines.append(f"  time: {_quoted(guess.time)}")
    if guess.drop:
        lines.append("  drop:  # columns that are not used as features")
        lines += [f"    - {_quoted(name)}  # {_comment(reason)}" for name, reason in guess.drop]
    if guess.test_from is not None:
        lines += [
            f"  # The last {TEST_SHARE:.0%} of the rows by time: a model is judged on what came after all it has seen.",
            f'  split: {{kind: time, test_from: "{guess.test_from}", validation: 0.1}}',
        ]
    else:
        lines.append(f"  split: {{kind: random, test: {TEST_SHARE}, validation: 0.1}}")
    return [*lines, ""]


def _checks(profile: Profile, guess: Guess, target: str) -> list[str]:
    lines = [
        "checks:",
        "  on_fail: stop  # or warn",
        "  # What these data hold now; what is not meant to hold for new data should go.",
        "  expect:",
    ]
    dropped = {name for name, _ in guess.drop}
    expected = [
        f"    {_quoted(name)}: {{{', '.join(parts)}}}"
        for name, column in profile.columns.items()
        if name not in dropped and (parts := _expectation(column, is_target=name == target))
    ]
    if len(expected) > MOST_EXPECTATIONS:
        lines.append(f"    # the first {MOST_EXPECTATIONS} of {len(expected)} columns")
    return [*lines, *expected[:MOST_EXPECTATIONS], ""] if expected else [*lines[:2], ""]


def _expectation(column: ColumnProfile, *, is_target: bool) -> list[str]:
    """Expect what looks like a rule: few values or a small range of whole numbers, and no missing values where none are."""
    whole = column.overall
    parts = [] if whole.missing else ["max_missing: 0.0"]
    few = whole.hitters.exact and 0 < len(whole.hitters.counts) <= MOST_LABELS
    if column.kind == "string" and few:
        values = sorted(str(value) for value, _ in whole.hitters.items())
        if all(len(value) <= 64 for value in values):
            parts.insert(0, f"values: [{', '.join(_quoted(value) for value in values)}]")
    elif column.kind == "numeric" and whole.integers_only and whole.moments is not None and whole.moments.n:
        low, high = int(whole.moments.minimum), int(whole.moments.maximum)
        if is_target and few:
            parts.insert(
                0, f"values: [{', '.join(str(int(value)) for value, _ in sorted(whole.hitters.items()))}]"
            )
        elif column.distinct <= 100:
            parts.insert(0, f"minimum: {low}, maximum: {high}")
        elif low >= 0:
            parts.insert(0, "minimum: 0")
    return parts


def _rest(profile: Profile, guess: Guess) -> list[str]:
    slices = [
        name
        for name, column in profile.columns.items()
        if column.kind == "string"
        and 2 <= column.distinct <= 50
        and name not in {n for n, _ in guess.drop}
        and name != profile.target
    ][:2]
    return [
        "# Left out here, and so chosen by headrace: prepare (how columns become features) and models (candidates).",
        "",
        "train: {epochs: 5, patience: 2}",
        "",
        f"evaluate: {{slices: [{', '.join(_quoted(name) for name in slices)}]}}  # metrics also by these columns' values",
        "",
        "publish: {registry: registry}",
        "",
        "seed: 0  # same seed, same data: same model",
        "",
    ]


def _quoted(text: str) -> str:
    """Write a string as YAML: plain when nothing in it can be taken for something else."""
    special = text.lower() in {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/.-]*", text) and not special:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=text.isprintable(), width=10**9).strip()


def _comment(text: str) -> str:
    """Keep text from the data on its line, without characters that YAML refuses."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
