"""URLs that hold a secret: refused where they would be written down, for logs and reports are read by others (pure)."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from headrace.errors import InputError

SECRET = re.compile(
    r"sig|signature|token|secret|password|passwd|pwd|credential|accountkey|api[-_]?key|access[-_]?key",
    re.IGNORECASE,
)
"""In the name of a parameter: its value is a secret."""

MEND = "leave it out, and give credentials by the environment, a profile or a file (docs/howto/storage.md)"


def holds_secret(url: str) -> bool:
    """Whether a URL has a password before its host, or a parameter that is a secret.

    Examples
    --------
    >>> holds_secret("s3://KEY:SECRET@bucket/data"), holds_secret("https://host/x.parquet?X-Amz-Signature=1")
    (True, True)
    >>> holds_secret("s3://bucket/data"), holds_secret("sftp://me@host/data"), holds_secret("https://host/x?page=2")
    (False, False, False)
    """
    if "://" not in url:
        return False
    # Userinfo is looked for in the whole: a secret may hold a slash, where a parser sees the end of the host.
    if re.match(r"[\w+.-]+://[^/@:]*:(?!\d+/)[^@]*@", url):
        return True
    try:
        query = urlsplit(url).query
    except ValueError:
        return False
    return any(SECRET.search(name) for name, _ in parse_qsl(query, keep_blank_values=True))


def refuse_secret(url: str) -> str:
    """Give a URL back that holds no secret.

    Raises
    ------
    InputError
        It holds one. The error does not repeat it.
    """
    if holds_secret(url):
        raise InputError("the URL holds a secret", where=url.partition("://")[0] + "://...", mend=MEND)
    return url


def _validated(url: str) -> str:
    if holds_secret(url):
        raise ValueError(f"holds a secret; {MEND}")
    return url


PublicUrl = Annotated[str, AfterValidator(_validated)]
"""A path or URL in a file of options."""
