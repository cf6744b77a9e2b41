"""The registry on object stores: real S3 and Google servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from headrace.data.directories import CLAIM
from headrace.data.storage import join, write_bytes
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["s3", "gcs", "azure"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.mark.slow
def test_sixteen_writers_at_once_make_sixteen_whole_versions(store: str, package: Path) -> None:
    registry = Registry(store)
    with ThreadPoolExecutor(16) as pool:
        versions = list(pool.map(lambda _: registry.publish("late", package), range(16)))
    assert len(set(versions)) == 16
    assert registry.versions("late") == sorted(versions)
    assert registry.aliases("late")["champion"] in versions
    digest = read_package(package).manifest.model_sha256
    for version in versions[:3]:
        assert read_package(registry.resolve(f"late@{version}")).manifest.model_sha256 == digest


@pytest.mark.slow
def test_moves_of_an_alias_at_once_are_all_in_its_history(store: str, package: Path) -> None:
    registry = Registry(store)
    for _ in range(2):
        registry.publish("late", package)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: registry.set_alias("late", f"arm-{turn}", 1 + turn % 2), range(8)))
    assert {f"arm-{turn}": 1 + turn % 2 for turn in range(8)}.items() <= registry.aliases("late").items()
    assert len(registry.alias_history("late")) == 9


def test_what_a_killed_writer_leaves_is_not_seen(store: str, package: Path) -> None:
    registry = Registry(store)
    registry.publish("late", package)
    write_bytes(join(store, "late", "2", CLAIM), b"x")
    write_bytes(join(store, "late", "2", "card.md"), b"torn")
    write_bytes(join(store, "late", "aliases", "00000002", CLAIM), b"x")
    assert registry.versions("late") == [1]
    assert registry.aliases("late") == {"champion": 1}
    assert registry.publish("late", package) == 3
    registry.set_alias("late", "champion", 3, expected=1)
    assert registry.aliases("late") == {"champion": 3}
