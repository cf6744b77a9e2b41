"""Ranges on S3 by botocore: what s3fs would have read, with its options and its errors."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from tests.faulty import Faults, before
from tests.servers import KEY, READER_KEY, SECRET

from headrace.data import retrying, s3
from headrace.data.ranges import fetch
from headrace.data.storage import join, write_bytes
from headrace.errors import DataError

if TYPE_CHECKING:
    from tests.servers import Store

WHOLE = bytes(range(256)) * 40
SPANS = [(0, 1), (5, 300), (10_000, 10_240)]


@pytest.fixture
def placed(s3: str) -> str:
    """Bucket and key of an object that holds `WHOLE`."""
    write_bytes(join(s3, "a b"), WHOLE)
    return join(s3, "a b").removeprefix("s3://")


def never() -> None:
    pytest.fail("the answer named its etag")


def test_ranges_are_those_of_s3fs_and_their_etag_is_that_of_the_listing(placed: str) -> None:
    filesystem = fsspec.filesystem("s3")
    stamp = filesystem.info(placed)["ETag"]
    assert s3.read_ranges(filesystem, placed, SPANS, stamp, never) == [WHOLE[a:b] for a, b in SPANS]
    starts, ends = zip(*SPANS, strict=True)
    assert fetch(filesystem, placed, SPANS, stamp=stamp, require_same=never) == filesystem.cat_ranges(
        [placed] * len(SPANS), list(starts), list(ends)
    )


def test_another_etag_has_the_object_looked_at(placed: str) -> None:
    filesystem = fsspec.filesystem("s3")
    stamp = filesystem.info(placed)["ETag"]
    write_bytes(f"s3://{placed}", WHOLE[::-1])

    def changed() -> None:
        raise DataError("has changed")

    with pytest.raises(DataError, match="has changed"):
        fetch(filesystem, placed, SPANS, stamp=stamp, require_same=changed)
    looks: list[str] = []
    fetch(filesystem, placed, SPANS[:1], stamp="2026-01-01", require_same=lambda: looks.append("same"))
    assert looks == ["same"]  # by a store that stamps otherwise


def test_errors_are_those_of_s3fs(placed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = fsspec.filesystem("s3")
    with pytest.raises(FileNotFoundError):
        fetch(filesystem, f"{placed}-missing", SPANS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)  # with the secret of another
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(PermissionError):
        fetch(fsspec.filesystem("s3"), placed, SPANS)


@pytest.mark.parametrize("fault", ["busy", "throttled", "reset", "truncated"])
def test_what_fails_for_a_moment_is_read_again(
    fault: str, placed: str, s3_server: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "SHORTEST", 0.001)
    many = [
        (start, start + 100) for start in range(0, 2_000, 100)
    ]  # so that some are drawn, whatever the place is called
    port = int(s3_server.environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with before(port, Faults(**{fault: 0.5}), seed=3) as proxy:
        options = {
            "endpoint_url": f"http://127.0.0.1:{proxy.port}",
            "config_kwargs": {"retries": {"max_attempts": 0}},
        }
        filesystem = fsspec.filesystem("s3", **options)
        assert fetch(filesystem, placed, many) == [WHOLE[a:b] for a, b in many]
    assert proxy.done[fault]


OWN: list[dict[str, Any]] = [
    {"key": KEY, "secret": SECRET},
    {"config_kwargs": {"s3": {"addressing_style": "path"}, "read_timeout": 3}},
    {"client_kwargs": {"region_name": "us-east-1"}, "use_ssl": False},
]


@pytest.mark.parametrize("options", OWN)
def test_options_of_the_file_system_hold_here_too(
    options: dict[str, Any], placed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "key" in options:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    filesystem = fsspec.filesystem("s3", **options)
    assert s3.reads(filesystem)
    assert fetch(filesystem, placed, SPANS[:1]) == [WHOLE[:1]]


def test_nobody_signs_for_one_who_wants_to_be_nobody(placed: str) -> None:
    with pytest.raises(PermissionError):
        fetch(fsspec.filesystem("s3", anon=True, key=KEY, secret=SECRET), placed, SPANS[:1])


@pytest.mark.parametrize(
    "options", [{"requester_pays": True}, {"version_aware": True}, {"config_kwargs": {"connector_args": {}}}]
)
def test_with_options_that_are_not_understood_s3fs_reads(
    options: dict[str, Any], placed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = fsspec.filesystem("s3", **options)
    assert not s3.reads(filesystem)
    assert not s3.reads(fsspec.filesystem("memory"))
    monkeypatch.delattr(s3, "read_ranges")
    looks: list[str] = []
    got = fetch(filesystem, placed, SPANS[:1], require_same=lambda: looks.append("look"))
    assert got == [WHOLE[:1]]
    assert looks == ["look"]


def test_a_file_system_has_one_client_that_goes_with_it(placed: str) -> None:
    gc.collect()
    before_it = set(s3._CLIENTS)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    for _ in range(2):
        fetch(filesystem, placed, SPANS)
    assert set(s3._CLIENTS) - before_it == {id(filesystem)}
    del filesystem
    gc.collect()
    assert set(s3._CLIENTS) <= before_it
