"""Requests that are paced, tried again with back-off and Retry-After, and resumed where a body broke off."""

from __future__ import annotations

import contextlib
import email.utils
import random
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from headrace.errors import MissingExtraError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import httpx

    from headrace.ingesting.options import WebOptions

AGENT = "headrace"
AGAIN = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 300.0
"""Seconds that a server may ask to wait."""
REDIRECTS = 5


def load_httpx() -> Any:
    """Import httpx, or say which extra brings it."""
    try:
        import httpx
    except ImportError:
        raise MissingExtraError.for_extra("httpx", "ingest") from None
    return httpx


def origin(url: str) -> tuple[str, str]:
    """Scheme and host with port: where a credential belongs."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def plain(url: str) -> str:
    """Return a URL as it may be told: without user, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Web:
    """A client for the pages of one source.

    Parameters
    ----------
    options : WebOptions
        Pace and patience.
    headers : mapping of str to str
        Sent to `home` and nowhere else.
    home : str
        A URL of the server that the headers are meant for.
    say : callable
        Takes a line for the user.
    """

    def __init__(
        self, options: WebOptions, headers: Mapping[str, str], home: str, say: Callable[[str], None]
    ) -> None:
        self._httpx = load_httpx()
        self._options = options
        self._headers = dict(headers)
        self._home = origin(home)
        self._say = say
        self._client = self._httpx.Client(timeout=options.timeout, headers={"user-agent": AGENT})
        self._next = 0.0
        self.pause = 1.0 / options.requests_a_second
        """Seconds between requests."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(
        self, url: str, parameters: Mapping[str, Any] | None = None, allow: tuple[int, ...] = ()
    ) -> httpx.Response:
        """Get a page with its body.

        Raises
        ------
        StorageError
            It cannot be had, after all tries.
        """

        def once() -> httpx.Response:
            with self._open(url, parameters, {}) as response:
                self._judge(response, url, allow)
                response.read()
                return response

        response: httpx.Response = self._patiently(once, url)
        return response

    def stamp(self, url: str) -> str | None:
        """Tell from its headers alone what changes when a file does; None when they do not say."""

        def once() -> str | None:
            with self._open(url, None, {"accept-encoding": "identity"}, method="HEAD") as response:
                self._judge(response, url, (403, 404, 405, 501))
                marks = [response.headers.get(name, "") for name in ("etag", "last-modified")]
                known = response.status_code < 400 and any(marks)
                return " ".join([response.headers.get("content-length", ""), *marks]) if known else None

        found: str | None = self._patiently(once, url)
        return found

    def download(self, url: str, path: Path) -> None:
        """Get a file; what a broken link left is kept and gone on from when the server can, and still has the same file."""
        partial = path.with_name(path.name + ".partial")
        tag = path.with_name(path.name + ".tag")

        def once() -> None:
            have = partial.stat().st_size if partial.exists() and tag.exists() else 0
            resume = {"range": f"bytes={have}-", "if-range": tag.read_text()} if have else {}
            with self._open(url, None, {"accept-encoding": "identity", **resume}) as response:
                if response.status_code == 416:  # what is there is all of it, or not of this file
                    partial.unlink()
                    raise self._httpx.ReadError("the range does not fit")
                self._judge(response, url, ())
                mark = response.headers.get("etag", "")
                if mark and not mark.startswith("W/"):
                    tag.write_text(mark)
                else:
                    tag.unlink(missing_ok=True)
                with partial.open("ab" if response.status_code == 206 else "wb") as file:
                    for piece in response.iter_bytes():
                        file.write(piece)

        self._patiently(once, url)
        partial.rename(path)
        tag.unlink(missing_ok=True)

    def _patiently(self, once: Callable[[], Any], url: str) -> Any:
        for attempt in range(self._options.retries + 1):
            try:
                return once()
            except (_AgainError, self._httpx.TransportError) as error:
                if attempt == self._options.retries:
                    tries = f"after {attempt + 1} tries" if attempt else "at the only try"
                    raise StorageError(
                        f"{str(error) or type(error).__name__} {tries}",
                        where=plain(url),
                        mend="run the ingest again later; it goes on where it was",
                    ) from None
                wait = min(self._options.back_off * 2**attempt, 60.0) * random.uniform(0.75, 1.25)
                if isinstance(error, _AgainError) and error.wait is not None:
                    wait = error.wait
                self._say(f"{plain(url)}: {str(error) or type(error).__name__}; again in {wait:.1f} s")
                time.sleep(wait)
        raise AssertionError  # the last try returns or raises

    @contextlib.contextmanager
    def _open(
        self, url: str, parameters: Mapping[str, Any] | None, headers: Mapping[str, str], method: str = "GET"
    ) -> Iterator[httpx.Response]:
        """Send a request and follow redirects; headers of the user do not go to another server."""
        for _ in range(REDIRECTS + 1):
            wait = self._next - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._next = time.monotonic() + self.pause
            own = self._headers if origin(url) == self._home else {}
            try:
                opened = self._client.stream(
                    method, url, params=parameters or None, headers={**own, **headers}
                )
            except (self._httpx.InvalidURL, self._httpx.UnsupportedProtocol) as error:
                raise StorageError(str(error), where=plain(url), mend="check the URL") from None
            with opened as response:
                if not response.is_redirect:
                    yield response
                    return
                url, parameters = urljoin(url, response.headers["location"]), None
        raise StorageError(f"more than {REDIRECTS} redirects", where=plain(url), mend="check the URL")

    @staticmethod
    def _judge(response: httpx.Response, url: str, allow: tuple[int, ...]) -> None:
        status = response.status_code
        if status < 400 or status in allow:
            return
        text = f"{status} {response.reason_phrase}"
        if status in AGAIN:
            wait = retry_after(response.headers.get("retry-after"), time.time())
            if wait is None or wait <= LONGEST_WAIT:
                raise _AgainError(text, wait)
            raise StorageError(
                f"{text}; the server asks to wait {wait:.0f} s", where=plain(url), mend="run it later"
            )
        mend = "check the credentials" if status in {401, 403} else "check the URL"
        raise StorageError(text, where=plain(url), mend=mend)


class _AgainError(Exception):
    """The server asks to be asked again, after `wait` seconds when it says so."""

    def __init__(self, text: str, wait: float | None) -> None:
        super().__init__(text)
        self.wait = wait


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, whether it counts them or names a date; None without one.

    Examples
    --------
    >>> retry_after("3", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 30.0), retry_after("soon", 0.0)
    (3.0, 30.0, None)
    """
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None
