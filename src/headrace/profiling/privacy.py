"""Which columns tell about persons, and rows that can be shown without telling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from headrace.data.schemas import is_text, logical_type

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from headrace.profiling.profile import Profile

MASK = "***"
"""What is shown of a masked text; other masked values are null."""
_NAMED = re.compile(
    r"(?:^|_)(?:"
    r"e_?mails?|phones?|mobile|telephone|fax|ssn|passport|iban|card(?:_?(?:no|number))?|ip|ip_?addr(?:ess)?|"
    r"address|street|birth_?(?:day|date)|dob|surname|"
    r"(?:first|last|full|given|family|middle|maiden|user|customer|person|patient|client|employee|owner|contact)_?name"
    r")(?:_|$)"
)
EMAIL = r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"
PHONE = r"^\s*(?:\+\d[\d\s().\-/]{6,18}|\(?0\d{2,5}\)?[\s\-/]\d[\d\s\-]{3,12}|\(?\d{3}\)?[\s.\-]\d{3}[\s.\-]\d{4})\s*$"
ADDRESS = (
    r"(?:^|[^\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:[^\d.]|$)"
    r"|(?i:(?:^|[^0-9a-f:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?:[^0-9a-f:]|$)|(?:[0-9a-f]{1,4}:){2,6}:[0-9a-f]{1,4})"
)
CARD = r"(?:^|\D)\d(?:[ \-]?\d){12,18}(?:\D|$)"
_KINDS = {"an e-mail address": EMAIL, "a phone number": PHONE, "an IP address": ADDRESS}
_LOOKED_AT = 200
_FEWEST_CARDS = 4
"""Numbers that must all have the check digit of a card: one in ten numbers has it by chance."""


def personal_columns(profile: Profile, declared: Collection[str] = ()) -> dict[str, str]:
    """Find columns that tell about persons, with the reason.

    Parameters
    ----------
    profile : Profile
        Names, and frequent values, are looked at.
    declared : collection of str
        Columns that are known to.

    Examples
    --------
    >>> from headrace.profiling.profile import profile_table
    >>> table = pa.table({"userEmail": ["-"], "note": ["write to a@b.org"], "city": ["Ulm"]})
    >>> personal_columns(profile_table(table)["all"])
    {'userEmail': 'its name', 'note': 'a value looks like an e-mail address'}
    """
    found: dict[str, str] = {}
    for name, column in profile.columns.items():
        if name in declared:
            found[name] = "declared"
        elif _is_personal(name):
            found[name] = "its name"
        elif column.kind == "numeric" and column.overall.integers_only:
            held = [str(int(value)) for value, _ in column.overall.hitters.items()[:_LOOKED_AT]]
            if len(held) >= _FEWEST_CARDS and all(_is_card(value) for value in held):
                found[name] = "its values look like card numbers"
        elif column.kind == "string":
            values = [str(value) for value, _ in column.overall.hitters.items()[:_LOOKED_AT]]
            kind = _kind_of_any(values)
            if kind:
                found[name] = f"a value looks like {kind}"
    return found


def hint(personal: Mapping[str, str]) -> str:
    """Say in a line which columns may tell about persons, and what can be done."""
    named = ", ".join(f"{name} ({why})" for name, why in personal.items())
    return f"may tell about persons: {named}; see pii: in docs/howto/govern.md"


def _is_personal(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^0-9A-Za-z]+", "_", name).lower()
    return spaced == "name" or _NAMED.search(spaced) is not None


def _kind_of_any(values: list[str]) -> str | None:
    array = pa.array(values, pa.large_string())
    for kind, pattern in _KINDS.items():
        if pc.any(pc.match_substring_regex(array, pattern)).as_py():
            return kind
    return "a card number" if any(_is_card(value) for value in values) else None


def _is_card(text: str) -> bool:
    """Whether a text holds 13 to 19 digits whose check digit is right (Luhn 1960, ISO/IEC 7812)."""
    for found in re.finditer(CARD, text):
        digits = [int(character) for character in reversed(found[0]) if character.isdigit()]
        doubled = [
            digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)
        ]
        if sum(doubled) % 10 == 0:
            return True
    return False


def masked(table: pa.Table, personal: Collection[str]) -> pa.Table:
    """Return rows without what tells about persons.

    Parameters
    ----------
    table : pyarrow.Table
        Rows.
    personal : collection of str
        Columns of which nothing is shown. Of other columns of text, values that look like an e-mail address, a phone
        number, an IP address or a card number are not shown either.
    """
    columns = [_masked(table.column(name), whole=name in personal) for name in table.column_names]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def _masked(column: pa.ChunkedArray, *, whole: bool) -> pa.ChunkedArray:
    kind = logical_type(column.type)
    if not is_text(kind):
        return pa.chunked_array([pa.nulls(len(column), column.type)]) if whole else column
    texts = column.cast(pa.large_string())
    if whole:
        hide = pc.is_valid(texts)
    else:
        hide = pc.match_substring_regex(texts, CARD)
        if pc.any(hide).as_py():
            cards = [_is_card(text) if text is not None else None for text in texts.to_pylist()]
            hide = pa.chunked_array([pa.array(cards, pa.bool_())])
        for pattern in _KINDS.values():
            hide = pc.or_(hide, pc.match_substring_regex(texts, pattern))
    return pc.if_else(pc.fill_null(hide, False), pa.scalar(MASK, pa.large_string()), texts)
