"""Two versions side by side: intervals, and a test that may be looked at as often as one likes (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scipy import special

if TYPE_CHECKING:
    from headrace.monitoring.performance import Outcomes

LEAST_ROWS = 100
"""Labels of each arm before a verdict: the limit of large samples is not near before."""
PLANNED_ROWS = 10_000
"""Labels at which the sequence of intervals is narrowest."""
Verdict = Literal["challenger", "champion", "equal", "open"]
LOSSES = ("log_loss", "squared_error", "error", "brier", "absolute_error")


@dataclass(frozen=True)
class Comparison:
    """The loss of the challenger less that of the champion.

    Attributes
    ----------
    loss : str
    paired : bool
        Whether both arms answered the same rows.
    rows : pair of int
        Labels of the champion and the challenger; of pairs, twice their number.
    means : pair of float
        Mean loss of each.
    difference : float
        Below 0 the challenger is better.
    low, high : float
        Its interval at each moment: 95 % hold for one look only.
    low_always, high_always : float
        Its confidence sequence: with 95 % the truth is in it at *all* looks together.
    chance : float
        Always-valid p-value; may be compared with 0.05 at any look.
    verdict : {"challenger", "champion", "equal", "open"}
        Who is better; ``equal`` when the sequence lies within the margin; ``open`` when it is not known yet.
    needed : int or None
        Labels of each arm, about, after which a difference as large as this one would be sure; None when it is.
    """

    loss: str
    paired: bool
    rows: tuple[int, int]
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    low_always: float
    high_always: float
    chance: float
    verdict: Verdict
    needed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        document = asdict(self)
        for name, value in document.items():
            if isinstance(value, float) and not math.isfinite(value):
                document[name] = None
        return {**document, "rows": list(self.rows), "means": [_finite(value) for value in self.means]}


def compare_arms(
    champion: Outcomes,
    challenger: Outcomes,
    loss: str | None = None,
    *,
    alpha: float = 0.05,
    margin: float = 0.0,
    planned: int = PLANNED_ROWS,
) -> Comparison | None:
    """Compare two arms by a loss; by pairs when there are as many of them as half the labels.

    Parameters
    ----------
    champion, challenger : Outcomes
        All labels since the test began.
    loss : str, optional
        ``log_loss``, ``brier``, ``error``, ``squared_error``, ``absolute_error``; by default the first that is there.
    alpha : float
        Probability of a false verdict, at any number of looks.
    margin : float
        Differences that do not matter; 0: there is no verdict of ``equal``.
    planned : int
        Labels of an arm at which the sequence shall be narrowest. It must be set before the test begins.

    Returns
    -------
    Comparison or None
        None when an arm has no labels of this loss.
    """
    name = loss or next((each for each in LOSSES if each in champion.losses), "")
    one, other = champion.losses.get(name), challenger.losses.get(name)
    if one is None or other is None or not one.n or not other.n:
        return None
    pairs = challenger.pairs.get(name)
    if pairs is not None and 2 * pairs.n >= other.n:
        n, difference, variance = pairs.n, pairs.mean, pairs.variance / pairs.n
        rows, scale = (pairs.n, pairs.n), pairs.variance
    else:
        pairs = None
        difference = other.mean - one.mean
        variance = one.variance / one.n + other.variance / other.n
        rows, n = (one.n, other.n), min(one.n, other.n)
        scale = one.variance + other.variance
    if not math.isfinite(variance) or variance <= 0 or n < LEAST_ROWS:
        reach = 1.959964 * math.sqrt(variance) if variance > 0 else math.nan
        return Comparison(
            name, pairs is not None, rows, (one.mean, other.mean), difference, difference - reach, difference + reach,
            -math.inf, math.inf, 1.0, "open", LEAST_ROWS if n < LEAST_ROWS else None,
        )  # fmt: skip
    tuned = mixing(planned / scale, alpha)
    reach = float(special.ndtri(1 - alpha / 2)) * math.sqrt(variance)
    always = sequence_reach(variance, tuned, alpha)
    low, high = difference - always, difference + always
    verdict: Verdict = "open"
    if high < 0:
        verdict = "challenger"
    elif low > 0:
        verdict = "champion"
    elif margin > 0 and low > -margin and high < margin:
        verdict = "equal"
    return Comparison(
        name,
        pairs is not None,
        rows,
        (one.mean, other.mean),
        difference,
        difference - reach,
        difference + reach,
        low,
        high,
        sequence_chance(difference, variance, tuned),
        verdict,
        _needed(difference, scale, tuned, alpha) if verdict == "open" else None,
    )


def sequence_reach(variance: float, tuned: float, alpha: float) -> float:
    r"""Return half the width of the confidence sequence of a mean.

    With information :math:`I = 1 / v`, the normal mixture boundary of Robbins (1970), eq. 14 of Howard, Ramdas, McAuliffe and
    Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences":
    :math:`\sqrt{(I + \rho) \log((I + \rho) / (\rho \alpha^2))} / I`. With a variance that is estimated from the data it
    holds in the limit of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory".

    Parameters
    ----------
    variance : float
        Of the mean.
    tuned : float
        rho; see `mixing`.
    alpha : float
    """
    information = 1 / variance
    return (
        math.sqrt((information + tuned) * math.log((information + tuned) / (tuned * alpha**2))) / information
    )


def sequence_chance(difference: float, variance: float, tuned: float) -> float:
    """Return the always-valid p-value: the alpha at which the confidence sequence ends at 0 (mixture SPRT).

    Examples
    --------
    >>> tuned = mixing(100.0, 0.05)
    >>> edge = sequence_reach(0.01, tuned, 0.05)
    >>> round(sequence_chance(edge, 0.01, tuned), 6)
    0.05
    """
    information = 1 / variance
    whole = information + tuned
    exponent = (difference * information) ** 2 / (2 * whole)
    return min(1.0, math.exp(min(0.0, 0.5 * math.log(whole / tuned) - exponent)))


def mixing(information: float, alpha: float) -> float:
    """Return the rho at which the sequence is narrowest when the information is `information` (section 3.5 of Howard et al.)."""
    spread = -2 * math.log(alpha)
    return information / (spread + math.log(spread) + 1)


def _needed(difference: float, scale: float, tuned: float, alpha: float) -> int | None:
    """Labels of each arm after which the sequence leaves 0 if the difference stays; None beyond 10^9."""
    rows = float(LEAST_ROWS)
    while rows < 1e9:
        if sequence_reach(scale / rows, tuned, alpha) < abs(difference):
            return round(rows)
        rows *= 1.1
    return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
