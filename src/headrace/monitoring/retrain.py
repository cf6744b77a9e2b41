"""When a model is due to be trained again (pure; the command line runs the workflow)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.monitoring.options import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.monitoring.measures import Measures
    from headrace.monitoring.options import RetrainOptions


def reasons_to_retrain(
    options: RetrainOptions,
    found: Iterable[Measures],
    *,
    created: str,
    trained_rows: int,
    rows_now: int | None,
    last: float | None,
    now: float,
) -> list[str]:
    """Say why a model is due; nothing when it is not.

    Parameters
    ----------
    options : RetrainOptions
    found : iterable of Measures
        Of the window of the options.
    created : str
        When the model was made, ISO format.
    trained_rows : int
        Rows that it was trained on.
    rows_now : int or None
        Rows of the data now; None when they were not counted.
    last : float or None
        When it was last trained again, in seconds since 1970.
    now : float
    """
    if last is not None and now - last < seconds_of(options.at_most_every):
        return []
    reasons = []
    for measures in found:
        moved = measures.drifted
        if options.drifted_columns is not None and len(moved) >= options.drifted_columns:
            reasons.append(f"{len(moved)} inputs have moved: {', '.join(moved[:5])}")
        estimate = measures.metrics.get(options.metric or "")
        if estimate is not None and estimate.value is not None:
            # the whole interval must lie beyond the limit: a few bad labels are no reason
            if options.below is not None and estimate.high is not None and estimate.high < options.below:
                reasons.append(f"{options.metric} is {estimate.value:.4g}, below {options.below:g}")
            if options.above is not None and estimate.low is not None and estimate.low > options.above:
                reasons.append(f"{options.metric} is {estimate.value:.4g}, above {options.above:g}")
    if options.older_than is not None:
        age = now - datetime.fromisoformat(created).replace(tzinfo=UTC).timestamp()
        if age > seconds_of(options.older_than):
            reasons.append(f"it is {age / 86_400:.1f} days old")
    if options.new_rows is not None and rows_now is not None and rows_now - trained_rows >= options.new_rows:
        reasons.append(f"there are {rows_now - trained_rows:,} new rows")
    return list(dict.fromkeys(reasons))
