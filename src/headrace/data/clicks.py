"""The generated sample: a click log of any size whose best possible AUC is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, int], Floats]

ROWS_A_GROUP = 250_000
GROUPS_A_FILE = 4
CYCLE = ROWS_A_GROUP * GROUPS_A_FILE
"""Rows after which the drift begins again, so that whole files are alike and row groups are not."""
MISSING = 0.05
START = np.datetime64("2026-01-01T00:00:00", "ms").astype(np.int64)
MILLISECONDS_A_ROW = 500
LOTS = 1 << 16
WORLD = 20_260_101
"""Seed of the effects of the categories: all seeds of the sample are draws from one world."""
INTERCEPT = -1.62


@dataclass(frozen=True)
class Numeric:
    """A numeric column and what it does to the target."""

    name: str
    draw: Draw
    """Values before drift, of `mean` and `deviation`."""
    mean: float
    deviation: float
    effect: float
    """Change of the log-odds for one standard deviation."""
    drift: float = 0.0
    """Amplitude of the drift in standard deviations."""
    missing: float = 0.0
    """Share of missing values; these leave the log-odds alone but for `missing_effect`."""
    missing_effect: float = 0.0


@dataclass(frozen=True)
class Category:
    """A text column and what it does to the target."""

    name: str
    values: tuple[str, ...]
    spread: float
    """Standard deviation of the effects of the values on the log-odds."""

    def lots(self) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """Return the value that each of 65,536 equally likely lots draws.

        Frequencies follow nearly Zipf's law, ``1 / (rank + 5)``; one lookup a row is several times
        faster than a search in cumulated shares.
        """
        weights = 1.0 / (np.arange(len(self.values)) + 5.0)
        borders = np.rint(np.cumsum(weights) / weights.sum() * LOTS).astype(np.int64)
        return np.repeat(np.arange(len(self.values), dtype=np.int32), np.diff(borders, prepend=0))


def _normal(mean: float, deviation: float) -> Draw:
    return lambda rng, rows: rng.standard_normal(rows) * deviation + mean


def _uniform(rng: np.random.Generator, rows: int) -> Floats:
    return rng.random(rows)


def _log_normal(location: float, scale: float) -> Draw:
    return lambda rng, rows: np.exp(rng.standard_normal(rows) * scale + location)


def _log_normal_moments(location: float, scale: float) -> tuple[float, float]:
    mean = math.exp(location + scale**2 / 2)
    return mean, mean * math.sqrt(math.expm1(scale**2))


def _gamma(shape: float) -> Draw:
    return lambda rng, rows: rng.standard_gamma(shape, rows)


def _two_humps(rng: np.random.Generator, rows: int) -> Floats:
    """Draw normal values moved away from zero by one: mean 0, ``E x^2 = 2 + 2 E|z|``."""
    values = rng.standard_normal(rows)
    return values + np.copysign(1.0, values)


def _counts(mean: float) -> Draw:
    return lambda rng, rows: rng.poisson(mean, rows).astype(np.float64)


def _heavy(rng: np.random.Generator, rows: int) -> Floats:
    """Student's t with 3 degrees of freedom, scaled to milliseconds."""
    return rng.standard_t(3, rows) * 20.0 + 180.0


def _pareto(rng: np.random.Generator, rows: int) -> Floats:
    """Pareto with tail index 2.5: its third moment does not exist."""
    return np.exp(rng.standard_exponential(rows) / 2.5) * 10.0


_BID = (0.2, 0.5)
_SESSION = (4.0, 0.6)

NUMERICS = (
    Numeric("age", _normal(38.0, 11.0), 38.0, 11.0, effect=-0.25, drift=0.1),
    Numeric("relevance", _normal(0.0, 1.0), 0.0, 1.0, effect=0.55, drift=0.5, missing=MISSING),
    Numeric("bid", _log_normal(*_BID), *_log_normal_moments(*_BID), effect=0.3),
    Numeric(
        "session_seconds",
        _log_normal(*_SESSION),
        *_log_normal_moments(*_SESSION),
        effect=0.2,
        missing=MISSING,
    ),
    Numeric("scroll_depth", _uniform, 0.5, math.sqrt(1 / 12), effect=0.45),
    Numeric("ad_quality", _uniform, 0.5, math.sqrt(1 / 12), effect=0.35, drift=0.3, missing=MISSING),
    Numeric("pages_seen", _gamma(2.0), 2.0, math.sqrt(2.0), effect=-0.2),
    Numeric("past_clicks", _counts(3.0), 3.0, math.sqrt(3.0), effect=0.4),
    Numeric("past_views", _counts(40.0), 40.0, math.sqrt(40.0), effect=-0.3, drift=0.4),
    Numeric("mood", _two_humps, 0.0, math.sqrt(2.0 + 2.0 * math.sqrt(2 / math.pi)), effect=0.15),
    Numeric("latency", _heavy, 180.0, 20.0 * math.sqrt(3.0), effect=0.0),
    Numeric(
        "spend", _pareto, 50 / 3, 10 * math.sqrt(5 - 25 / 9), effect=0.0, missing=MISSING, missing_effect=0.4
    ),
)

# fmt: off
COUNTRIES = (
    "US", "IN", "BR", "ID", "MX", "GB", "DE", "JP", "FR", "PH", "TR", "VN", "IT", "TH", "ES", "CA",
    "PL", "AR", "KR", "CO", "EG", "PK", "NG", "BD", "MY", "SA", "AU", "PE", "NL", "CL", "ZA", "RO",
    "UA", "BE", "SE", "KE", "MA", "PT", "GR", "CZ", "HU", "AT", "CH", "IL", "DK", "FI", "NO", "IE",
    "NZ", "SG",
)
# fmt: on

CATEGORIES = (
    Category("publisher", tuple(f"pub-{number:03d}" for number in range(265)), spread=0.45),
    Category("campaign", tuple(f"campaign-{number:02d}" for number in range(20)), spread=0.4),
    Category("country", COUNTRIES, spread=0.3),
    Category("device", ("phone", "desktop", "tablet", "tv"), spread=0.25),
)

STREAMS = {
    name: number
    for number, name in enumerate(
        [column.name for column in NUMERICS]
        + [f"{column.name} missing" for column in NUMERICS]
        + [column.name for column in CATEGORIES]
        + ["time", "click"]
    )
}
"""Each column has its own random stream, so the first rows of a group do not depend on how many follow."""


def category_effects() -> dict[str, Floats]:
    """Return the effect of each value of each text column on the log-odds."""
    rng = np.random.default_rng(WORLD)
    return {column.name: rng.standard_normal(len(column.values)) * column.spread for column in CATEGORIES}


def draw_group(seed: int, index: int, rows: int) -> tuple[pa.Table, Floats]:
    """Draw one row group.

    Parameters
    ----------
    seed : int
        Seed of the sample.
    index : int
        Number of the row group within the sample.
    rows : int
        At most 250,000; fewer rows are the first of more.

    Returns
    -------
    tuple of (pyarrow.Table, numpy.ndarray)
        The rows, and the true probability of a click of each.

    Notes
    -----
    The truth is a logistic model, linear in what mean imputation with indicator, standard scaling and
    one-hot coding make of the columns: ``logit p = c + sum b (x - mean) / deviation + sum effect[value]``,
    where a missing ``x`` adds the effect of being missing instead.
    """
    row = np.arange(rows, dtype=np.float64) + index * ROWS_A_GROUP
    wave = np.sin(row * (2 * math.pi / CYCLE))
    logit = np.full(rows, INTERCEPT)
    columns: dict[str, pa.Array] = {}
    for numeric in NUMERICS:
        columns[numeric.name] = _numeric(numeric, seed, index, wave, logit)
    effects = category_effects()
    for category in CATEGORIES:
        lots = _stream(seed, index, category.name).integers(0, LOTS, rows, dtype=np.uint16)
        codes = category.lots()[lots]
        logit += effects[category.name][codes]
        columns[category.name] = pa.DictionaryArray.from_arrays(codes, pa.array(category.values))
    probability = 1.0 / (1.0 + np.exp(-logit))
    jitter = _stream(seed, index, "time").integers(0, MILLISECONDS_A_ROW, rows)
    moment = START + row.astype(np.int64) * MILLISECONDS_A_ROW + jitter
    columns["time"] = pa.array(moment).cast(pa.timestamp("ms"))
    click = _stream(seed, index, "click").random(rows) < probability
    columns["click"] = pa.array(click.astype(np.int8))
    return pa.table(columns), probability


def _stream(seed: int, index: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([seed, index, STREAMS[name]]))


def _numeric(column: Numeric, seed: int, index: int, wave: Floats, logit: Floats) -> pa.Array:
    """Draw a numeric column and add its effect to `logit`."""
    values = column.draw(_stream(seed, index, column.name), len(wave))
    if column.drift:
        values += wave * (column.drift * column.deviation)
    effect = (values - column.mean) * (column.effect / column.deviation) if column.effect else None
    missing = None
    if column.missing:
        missing = _stream(seed, index, f"{column.name} missing").random(len(wave)) < column.missing
        given = np.zeros(len(wave)) if effect is None else effect
        effect = np.where(missing, column.missing_effect, given)
    if effect is not None:
        logit += effect
    return pa.array(values, mask=missing)


def true_probability(seed: int, index: int) -> Floats:
    """Return the true probabilities of the rows of one whole row group."""
    return draw_group(seed, index, ROWS_A_GROUP)[1]


def expected_auc(probability: Floats) -> float:
    """Return the AUC to expect of scores that are the true probabilities; no scores have a better one.

    Expected over the labels, ``sum_ij p_i (1 - p_j) ([p_i > p_j] + [p_i = p_j] / 2)`` by
    ``sum p  sum (1 - p)``.

    Examples
    --------
    >>> expected_auc(np.array([0.5, 0.5]))
    0.5
    """
    values, positions = np.unique(probability, return_inverse=True)
    positive = np.bincount(positions, weights=probability, minlength=len(values))
    negative = np.bincount(positions, weights=1.0 - probability, minlength=len(values))
    below = np.cumsum(negative) - negative
    total = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / total)


def write_file(path: Path, seed: int, first_group: int, rows: int, metadata: dict[str, str]) -> int:
    """Write one file of `rows` rows, beginning with row group `first_group` of the sample.

    Parameters
    ----------
    metadata : dict of str to str
        Schema metadata.

    Returns
    -------
    int
        Bytes of the file.
    """
    starts = range(0, rows, ROWS_A_GROUP)
    schema = draw_group(seed, first_group, 0)[0].schema
    # the Arrow schema is left out so that every reader sees strings, not dictionaries
    with pq.ParquetWriter(
        path,
        schema,
        compression="snappy",
        use_dictionary=[column.name for column in CATEGORIES] + ["click"],
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        writer.add_key_value_metadata(metadata)
        for number, start in enumerate(starts):
            table, _ = draw_group(seed, first_group + number, min(rows - start, ROWS_A_GROUP))
            writer.write_table(table, row_group_size=ROWS_A_GROUP)
    return path.stat().st_size
