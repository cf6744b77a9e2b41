"""Stores that fail for a moment: which errors pass, and what failed made again after a while."""

from __future__ import annotations

import errno
import random
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds since the first failure after which one more is told to the user."""

FIRST_PATIENCE = 10.0
"""The same of a store that has not answered yet: its name may be wrong."""

SHORTEST, LONGEST = 0.1, 10.0
"""Seconds: the wait after the first failure is drawn up to the first, each later one up to twice the one before."""

LIBRARIES = {
    "aiohttp": ("ClientError",),
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError", "ChecksumError"),
    "google.auth.exceptions": ("GoogleAuthError",),
    "requests.exceptions": ("RequestException",),
}
"""Errors of the libraries that reach stores; not all of them are errors of the operating system."""

PASSING = {
    "aiohttp": ("ClientConnectionError", "ClientPayloadError"),
    "azure.core.exceptions": ("ServiceRequestError", "ServiceResponseError", "IncompleteReadError"),
    "botocore.exceptions": (
        "ConnectionError",
        "HTTPClientError",
        "IncompleteReadError",
        "ResponseStreamingError",
    ),
    "gcsfs.retry": ("ChecksumError",),
    "google.auth.exceptions": ("TransportError",),
    "requests.exceptions": ("ConnectionError", "Timeout", "ChunkedEncodingError"),
}
"""Those of them that say: not reached, no answer in time, or the answer broke off."""

STATUSES = {408, 429, 500, 502, 503, 504}
"""Answers of a server after which the same request may be granted."""

NUMBERS = {errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.EPIPE, errno.EREMOTEIO, errno.ETIMEDOUT}
"""Errors of the operating system that pass; s3fs turns answers of the server into some of them."""


class ShortReadError(OSError):
    """A store gave other than the bytes that were asked for."""


def failures() -> tuple[type[Exception], ...]:
    """Name what a file system can raise when its store fails; of libraries that are not loaded, nothing can come."""
    return (OSError, *_loaded(LIBRARIES))


def passes(error: BaseException) -> bool:
    """Whether the same request may well be granted in a while."""
    if isinstance(error, (TimeoutError, ConnectionError, ShortReadError, *_loaded(PASSING))):
        return True
    status = _status(error)
    return status in STATUSES if status else isinstance(error, OSError) and error.errno in NUMBERS


def refused(error: BaseException) -> bool:
    """Whether a store would not create what is there.

    s3fs knows a refused condition by a word that some stores leave out of their answer, and then tells a wrong argument.
    """
    return isinstance(error, FileExistsError) or _status(error) == 412


def patiently(action: Callable[[], T], patience: float | None = None) -> T:
    """Do something that may be done twice; after a failure that passes, again, until patience is over.

    The libraries below try again for themselves; this begins where they give up, and where they do not try. Waits are
    drawn between nothing and a bound that doubles, so that many who failed together do not come back together ("full
    jitter": Brooker, *Exponential backoff and jitter*, AWS Architecture Blog, 2015).

    Parameters
    ----------
    action : callable
        Raises what `failures` names.
    patience : float, optional
        Seconds; `PATIENCE` by default.

    Returns
    -------
    object
        What `action` returns.
    """
    patience = PATIENCE if patience is None else patience
    bound, since = SHORTEST, 0.0
    while True:
        try:
            return action()
        except failures() as error:
            now = time.monotonic()
            since = since or now
            if not passes(error) or now - since > patience:
                raise
        time.sleep(random.uniform(0.0, bound))
        bound = min(LONGEST, 2.0 * bound)


def _loaded(names: dict[str, tuple[str, ...]]) -> tuple[type[Exception], ...]:
    def found() -> Iterator[type[Exception]]:
        for module, classes in names.items():
            if module in sys.modules:
                yield from (getattr(sys.modules[module], name) for name in classes)

    return tuple(found())


def _status(error: BaseException) -> int:
    """Status of the answer that an error, or what it was made of, tells of; 0 when it tells of none."""
    each: BaseException | None = error
    while each is not None:
        response: Any = getattr(each, "response", None)
        told = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        found = (
            told.get("HTTPStatusCode"),
            *(getattr(each, name, None) for name in ("status", "status_code", "code")),
        )
        for status in found:
            if str(status).isdecimal():
                return int(str(status))
        each = each.__cause__
    return 0
