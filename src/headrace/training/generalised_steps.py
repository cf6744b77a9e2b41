"""Where a minimisation goes next: Newton's direction from shared curvature, mended by past gradients; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MEMORY = 10
"""Pairs of steps and changes of the gradient that mend a curvature which is not the problem's own."""
ARMIJO = 1e-4
HALVINGS = 30
LEAST_GAIN = 1e-14
"""So does a step that would lower the objective by less than half of this share of it, or of 1."""
TOLERANCE = 1e-6
"""A step below this share of the largest coefficient, or of 1, ends a minimisation."""


@dataclass(frozen=True)
class Descent:
    """One minimisation.

    Attributes
    ----------
    point : ndarray, shape (size,)
        Best known.
    value : float
        Objective there; infinite before the first evaluation.
    gradient, direction : ndarray, shape (size,)
        There.
    step : float
        Share of the direction that is tried next; 0 at first: the point itself.
    pairs : tuple of (ndarray, ndarray)
        Steps and the changes of the gradient along them, since its own curvature was last measured.
    passes : int
        Evaluations so far.
    stage : int
        Which of its losses is minimised.
    done : bool
    converged : bool
    """

    point: Numbers
    value: float = np.inf
    gradient: Numbers = field(default_factory=lambda: np.empty(0))
    direction: Numbers = field(default_factory=lambda: np.empty(0))
    step: float = 0.0
    pairs: tuple[tuple[Numbers, Numbers], ...] = ()
    passes: int = 0
    stage: int = 0
    done: bool = False
    converged: bool = False

    @property
    def trial(self) -> Numbers:
        """Where the objective is wanted next."""
        return self.point + self.step * self.direction if self.step else self.point


@dataclass(frozen=True)
class Curvature:
    """Second derivatives of the objective, as a factor that can be solved with.

    Attributes
    ----------
    factor : ndarray
        Lower Cholesky factor, shape (size, size); or the diagonal, shape (size,).
    """

    factor: Numbers

    @classmethod
    def of(cls, matrix: Numbers, penalty: Numbers) -> Curvature:
        """Factorise.

        Parameters
        ----------
        matrix : ndarray, shape (size, size) or (size,)
            Second derivatives of the mean loss, or their diagonal.
        penalty : ndarray, shape (size,)
            Added to the diagonal. A little more is where the matrix is singular.
        """
        diagonal = matrix if matrix.ndim == 1 else np.diag(matrix)
        lift = 1e-12 * max(float(diagonal.max(initial=0.0)), 1e-12)
        if matrix.ndim == 1:
            return cls(np.maximum(matrix + penalty, lift))
        from scipy import linalg

        while True:
            try:
                factor = linalg.cholesky(matrix + np.diag(penalty + lift), lower=True, check_finite=False)
            except linalg.LinAlgError:
                lift *= 100.0
            else:
                return cls(np.asarray(factor))

    def solve(self, vector: Numbers) -> Numbers:
        """Return the vector divided by the curvature."""
        if self.factor.ndim == 1:
            return vector / self.factor
        from scipy import linalg

        return np.asarray(linalg.cho_solve((self.factor, True), vector, check_finite=False))


def direction(gradient: Numbers, pairs: Any, curvature: Curvature) -> Numbers:
    """Return where to go, by the two loops of L-BFGS around a curvature (Nocedal and Wright 2006, algorithm 7.4)."""
    q = -gradient
    shares = []
    for step, change in reversed(pairs):
        share = (step @ q) / (step @ change)
        shares.append(share)
        q = q - share * change
    q = curvature.solve(q)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - (change @ q) / (step @ change)) * step
    return q


def advance(
    known: Descent,
    value: float,
    gradient: Numbers,
    curvature: Curvature,
    *,
    own: bool,
    most: int,
    tolerance: float = TOLERANCE,
) -> Descent:
    """Take an evaluation at the trial point, and say where to go from there.

    Parameters
    ----------
    known : Descent
    value, gradient
        Of the objective at ``known.trial``.
    curvature : Curvature
    own : bool
        Whether the curvature is that of this objective at the trial point: past gradients then have nothing to mend.
    most : int
        Evaluations at which the minimisation is given up.
    tolerance : float
        See `TOLERANCE`.
    """
    passes = known.passes + 1
    trial = known.trial
    if known.step and not _falls(known, value):
        step = known.step / 2
        over = step < 2.0**-HALVINGS or passes >= most
        return replace(known, step=step, passes=passes, done=over)
    pairs = known.pairs
    if own:
        pairs = ()
    elif known.step:
        moved, changed = trial - known.point, gradient - known.gradient
        if moved @ changed > 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(changed)):
            pairs = (*pairs, (moved, changed))[-MEMORY:]
    towards = direction(gradient, pairs, curvature)
    largest = max(1.0, float(np.abs(trial).max(initial=0.0)))
    near = float(np.abs(towards).max(initial=0.0)) <= tolerance * largest
    # Where columns depend on each other, coefficients may move at no gain: what counts is what a step would gain.
    near = near or -float(gradient @ towards) <= LEAST_GAIN * max(1.0, abs(value))
    return replace(
        known,
        point=trial,
        value=value,
        gradient=gradient,
        direction=towards,
        step=1.0,
        pairs=pairs,
        passes=passes,
        done=near or passes >= most,
        converged=near,
    )


def next_stage(known: Descent) -> Descent:
    """Begin with the next loss from where this one's minimum is."""
    return Descent(known.point, passes=known.passes, stage=known.stage + 1)


def _falls(known: Descent, value: float) -> bool:
    """Whether the objective at the trial point is low enough, up to its rounding (Armijo)."""
    slope = float(known.gradient @ known.direction)
    rounding = 1e-12 * max(1.0, abs(known.value))
    return bool(np.isfinite(value)) and value <= known.value + ARMIJO * known.step * slope + rounding
