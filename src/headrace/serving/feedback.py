"""Feedback: true labels of earlier requests, held against what the model can say."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError
from headrace.serving.bodies import TooManyRowsError, read_json
from headrace.serving.openapi import REQUEST_ID

if TYPE_CHECKING:
    from headrace.packaging.signature import Signature

_ID = re.compile(REQUEST_ID)
_MEND = 'send {"request_id": "...", "labels": [...]}'


def read_feedback(content: bytes, signature: Signature, most: int) -> tuple[str, tuple[Any, ...]]:
    """Read the body of a feedback request.

    Returns
    -------
    request_id : str
        Of the earlier request.
    labels : tuple
        One for each of its rows; None where it is not known.

    Raises
    ------
    InputError
        When the body has another shape, or a label is none of the model's classes or no finite number.
    """
    document, flaw = read_json(content)
    if not isinstance(document, dict) or document.keys() != {"request_id", "labels"} or flaw:
        raise InputError(flaw or "is not an object of request_id and labels", where="body", mend=_MEND)
    request_id, labels = document["request_id"], document["labels"]
    if not isinstance(request_id, str) or not _ID.fullmatch(request_id):
        raise InputError("is no request id", where="body: request_id", mend=_MEND)
    if not isinstance(labels, list) or not labels:
        raise InputError("is not a list of labels", where="body: labels", mend=_MEND)
    if len(labels) > most:
        raise TooManyRowsError(len(labels), most)
    return request_id, tuple(_label(label, number, signature) for number, label in enumerate(labels))


def _label(label: Any, number: int, signature: Signature) -> Any:
    if label is None:
        return None
    if signature.classes:
        # True == 1 in Python: the type has to agree too.
        for known in signature.classes:
            if label == known and isinstance(label, bool) == isinstance(known, bool):
                return known
        shown = ", ".join(str(known) for known in signature.classes[:10])
        raise InputError("is none of the classes", where=f"row {number}", mend=f"there are {shown}")
    try:
        if isinstance(label, (int, float)) and not isinstance(label, bool) and math.isfinite(label):
            return float(label)
    except OverflowError:
        pass
    raise InputError("is not a finite number", where=f"row {number}")
