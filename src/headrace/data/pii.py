"""What is done with columns about persons before anything else sees them: the `pii` key."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, TypeAdapter

from headrace.data.schemas import is_text, logical_type
from headrace.data.storage import read_bytes
from headrace.errors import InputError, StorageError, WorkflowError
from headrace.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

WHERE = "pii.columns"
MASK = "***"
"""What stands for a masked text."""
SHORTEST_KEY = 16
"""Bytes of a key at least."""
HEX = 32
"""Characters of a keyed hash: 128 bits, so that two values meet with a probability of n^2 / 2^129."""
VARIABLE = "env:"


class Drop(Options):
    """The column is never read into a table, profile or model."""

    kind: Literal["drop"]


class Mask(Options):
    """Every text becomes ``***``: what is left is whether there was one."""

    kind: Literal["mask"]


class Hash(Options):
    """Texts and whole numbers become HMAC-SHA-256 under a key, in hex: equal values stay equal."""

    kind: Literal["hash"]
    key: str = Field(
        min_length=1,
        description="env:NAME, a variable, or a file, on every machine that works; of at least 16 bytes",
    )


class Bin(Options):
    """Numbers become the lower end of their bin, a multiple of its width."""

    kind: Literal["bin"]
    width: float = Field(gt=0, allow_inf_nan=False, description="Width of a bin, such as 5")


class Period(Options):
    """Dates and times become the first moment of their month or year, those with a zone in UTC."""

    kind: Literal["period"]
    to: Literal["month", "year"] = Field(description="month or year")


class Prefix(Options):
    """Texts are cut to their first characters, such as those of a postcode."""

    kind: Literal["prefix"]
    characters: int = Field(ge=1, description="How many are left")


def _worded(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Way = Annotated[
    Drop | Mask | Hash | Bin | Period | Prefix,
    Field(discriminator="kind"),
]
Worded = Annotated[Way, BeforeValidator(_worded)]
_WAY: TypeAdapter[Drop | Mask | Hash | Bin | Period | Prefix] = TypeAdapter(Way)


class PiiOptions(Options):
    """Columns about persons, and how many rows a value must have to be told."""

    columns: dict[str, Worded] = Field(
        default={}, description="Column to what is done with it: drop, mask, hash, bin, period or prefix"
    )
    k_minimum: int = Field(
        default=10,
        ge=1,
        description="Values in fewer training rows are kept in no profile, page, signature or one-hot encoding",
    )


@dataclass(frozen=True)
class Treatment:
    """What is done with one column."""

    column: str
    way: Drop | Mask | Hash | Bin | Period | Prefix
    key_digest: str = ""
    """Of a hash: by this its key is known again; it does not tell the key."""

    @property
    def words(self) -> str:
        """Say what is done."""
        way = self.way
        if isinstance(way, Hash):
            return f"HMAC-SHA-256 under a key (digest {self.key_digest[:12]})"
        if isinstance(way, Bin):
            return f"cut to bins of {way.width:g}"
        if isinstance(way, Period):
            return f"cut to the {way.to}"
        if isinstance(way, Prefix):
            return f"cut to {way.characters} characters"
        return "dropped" if isinstance(way, Drop) else "masked"

    def after(self, kind: pa.DataType) -> pa.DataType:
        """Return the type of values that were of a type before it."""
        if isinstance(self.way, (Mask, Hash, Prefix)):
            return pa.string()
        return pa.float64() if isinstance(self.way, Bin) else kind

    def apply(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Treat the values of a column, encoded text once a value. Missing values stay missing."""
        way = self.way
        if isinstance(way, Bin):
            lower = pc.floor(pc.divide(column.cast(pa.float64(), safe=False), way.width))
            return pc.multiply(lower, way.width)
        if isinstance(way, Period):
            return _floored(column, way.to)
        change = _changing(way, self.key_digest)
        if not pa.types.is_dictionary(column.type):
            return pa.chunked_array([change(piece.cast(pa.string())) for piece in column.chunks], pa.string())
        pieces = []
        for piece in column.chunks:
            values = change(piece.dictionary.cast(pa.string()))
            pieces.append(pa.DictionaryArray.from_arrays(piece.indices, values).cast(pa.string()))
        return pa.chunked_array(pieces, pa.string())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "column": self.column, "way": self.way.model_dump(mode="json"), "key_digest": self.key_digest
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(document["column"], _WAY.validate_python(document["way"]), document["key_digest"])


@dataclass(frozen=True)
class Treatments:
    """What is done with columns of a dataset as it is read."""

    each: tuple[Treatment, ...]
    stored: pa.Schema
    """Those columns as the files hold them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it is done with."""
        return tuple(one.column for one in self.each)

    def before(self, offered: pa.Schema) -> pa.Schema:
        """Return the schema of what is stored, from that of what is offered."""
        names = set(self.names)
        return pa.schema([*(field for field in offered if field.name not in names), *self.stored])

    def after(self, stored: pa.Schema) -> pa.Schema:
        """Return the schema of what is offered, from that of what is stored."""
        by_name = {one.column: one for one in self.each}
        fields = []
        for field in stored:
            one = by_name.get(field.name)
            if one is None:
                fields.append(field)
            elif not isinstance(one.way, Drop):
                fields.append(pa.field(field.name, one.after(logical_type(field.type))))
        return pa.schema(fields)


def treat(table: pa.Table, each: Sequence[Treatment], *, dictionary: bool = False) -> pa.Table:
    """Treat those columns that a table has, and encode text where that is wanted.

    Raises
    ------
    InputError
        The key of a hash is not here, or not the one with which columns were hashed.
    """
    for one in each:
        place = table.schema.get_field_index(one.column)
        if place >= 0:
            treated = one.apply(table.column(place))
            if dictionary and is_text(treated.type):
                treated = treated.dictionary_encode()
            table = table.set_column(place, pa.field(one.column, treated.type), treated)
    return table


def find_treatments(options: PiiOptions | None) -> tuple[Treatment, ...]:
    """Make what a workflow says about columns ready, and look for the keys that it needs.

    Raises
    ------
    InputError
        The key of a hash cannot be read, or is too short.
    """
    return tuple(
        Treatment(name, way, _key_digest(read_key(way.key)) if isinstance(way, Hash) else "")
        for name, way in (options.columns if options else {}).items()
    )


def bind_treatments(each: Sequence[Treatment], schema: pa.Schema) -> Treatments:
    """Hold what is done with columns against those that there are.

    Raises
    ------
    WorkflowError
        A column is not there, or not of a type with which that can be done.
    """
    for one in each:
        where, name = f"{WHERE}.{one.column}", one.column
        if name not in schema.names:
            raise WorkflowError(
                f"there is no column {name!r}", where=where, mend=f"there are {', '.join(schema.names[:12])}"
            )
        kind = logical_type(schema.field(name).type)
        fits, mend = _fits(one.way, kind)
        if not fits:
            raise WorkflowError(f"the column {name!r} is {kind}", where=where, mend=mend)
    return Treatments(tuple(each), pa.schema([schema.field(one.column) for one in each]))


def require_kept(each: Sequence[Treatment], names: Sequence[str], keys: Mapping[str, str | None]) -> None:
    """Refuse to drop a column that a key of the workflow names, unless it is made anew and so among `names`.

    Raises
    ------
    WorkflowError
        Names the key.
    """
    dropped = {one.column for one in each if isinstance(one.way, Drop)} - set(names)
    for key, name in keys.items():
        if name in dropped:
            raise WorkflowError(
                f"{name!r} is needed here, and cannot be dropped by pii",
                where=key,
                mend=f"remove {WHERE}.{name}, or name a way that keeps the column there",
            )


def _fits(way: Any, kind: pa.DataType) -> tuple[bool, str]:
    types = pa.types
    if isinstance(way, Bin):
        return types.is_integer(kind) or types.is_floating(kind), "bins are of numbers; take drop"
    if isinstance(way, Period):
        return types.is_timestamp(kind) or types.is_date(kind), "periods are of dates and times; take drop"
    if isinstance(way, Hash):
        return is_text(kind) or types.is_integer(kind), "text and whole numbers are hashed; take bin or drop"
    if isinstance(way, Drop):
        return True, ""
    return is_text(kind), f"{way.kind} is for text; take bin, period or drop"


def read_key(place: str) -> bytes:
    """Read the key of a hash from ``env:NAME`` or a file; white space around it does not count.

    Raises
    ------
    InputError
        It is not there, or shorter than 16 bytes.
    """
    if place.startswith(VARIABLE):
        key = os.environ.get(place.removeprefix(VARIABLE), "").encode().strip()
    else:
        try:
            key = read_bytes(place).strip()
        except StorageError as error:
            raise InputError(f"the key cannot be read ({error})", where=WHERE) from error
    if len(key) < SHORTEST_KEY:
        what = f"has {len(key)} bytes" if key else "is not set"
        raise InputError(
            f"the key {place} {what}", where=WHERE,
            mend=f"give at least {SHORTEST_KEY} random bytes, such as from `openssl rand -hex 32`",
        )  # fmt: skip
    return key


def _key_digest(key: bytes) -> str:
    return hmac.digest(key, b"headrace: which key is this", "sha256").hex()[:HEX]


@lru_cache(maxsize=8)
def _known_key(place: str, digest: str) -> bytes:
    return _required_key(place, digest)


def _required_key(place: str, digest: str) -> bytes:
    key = read_key(place)
    if _key_digest(key) != digest:
        raise InputError(
            f"the key {place} is not the one with which columns were hashed (digest {digest[:12]})",
            where=WHERE, mend="put that key back, or begin anew",
        )  # fmt: skip
    return key


def require_keys(each: Sequence[Treatment]) -> None:
    """Refuse to begin when the key of a hash is not here, or another.

    Raises
    ------
    InputError
        Names the key.
    """
    for one in each:
        if isinstance(one.way, Hash):
            _required_key(one.way.key, one.key_digest)


def hashed(text: str, key: bytes) -> str:
    """Hash a text under a key: the first 128 bits of HMAC-SHA-256 (RFC 2104), in hex."""
    return hmac.digest(key, text.encode(), "sha256").hex()[:HEX]


def _changing(way: Any, digest: str) -> Callable[[pa.Array], pa.Array]:
    """Return what is done with plain texts."""
    if isinstance(way, Mask):
        return lambda texts: pc.if_else(pc.is_valid(texts), MASK, pa.scalar(None, pa.string()))
    if isinstance(way, Prefix):
        return lambda texts: pc.utf8_slice_codeunits(texts, 0, way.characters)
    key = _known_key(way.key, digest)
    return lambda texts: pa.array(
        [None if text is None else hashed(text, key) for text in texts.to_pylist()], pa.string()
    )


def _floored(column: pa.ChunkedArray, to: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        plain = pc.floor_temporal(column.cast(pa.timestamp(kind.unit)), unit=to)
        return plain.cast(kind)
    return pc.floor_temporal(column, unit=to).cast(kind)


def treat_tensor(values: NDArray[Any], treatment: Treatment, missing: Any) -> NDArray[Any]:
    """Treat values as a server has them: float64, microseconds since 1970, or texts.

    Parameters
    ----------
    values : ndarray of float64, int64 or object, any shape
        Of one column.
    treatment : Treatment
        Of that column, which is not dropped.
    missing : scalar
        What stands for a missing value, which stays.
    """
    way = treatment.way
    if isinstance(way, Bin):
        return np.floor(values / way.width) * way.width
    if isinstance(way, Period):
        code = "M" if way.to == "month" else "Y"
        floored = values.view("datetime64[us]").astype(f"datetime64[{code}]").astype("datetime64[us]")
        return np.asarray(floored.view(np.int64))  # the missing value of times is NaT, and stays
    known = pa.array([None if value == missing else value for value in values.flat], pa.string())
    changed = _changing(way, treatment.key_digest)(known).to_pylist()
    return np.array([missing if value is None else value for value in changed], object).reshape(values.shape)
