from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data import storage
from headrace.errors import InputError, PackageError, StorageError
from headrace.packaging.package import MANIFEST, read_package
from headrace.packaging.registry import Registry


def publish_some(url: str, package: Any, count: int) -> list[int]:
    return [Registry(url).publish("late", package) for _ in range(count)]


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


def test_an_empty_registry_has_nothing(registry):
    assert registry.names() == []
    assert registry.versions("late") == []
    assert registry.aliases("late") == {}
    assert registry.describe() == []


def test_versions_count_from_one_and_the_first_that_passed_is_champion(registry, package):
    assert registry.publish("late", package, status="candidate") == 1
    assert registry.aliases("late") == {}
    assert registry.publish("late", package) == 2
    assert registry.publish("late", package) == 3
    assert registry.aliases("late") == {"champion": 2}
    assert registry.versions("late") == [1, 2, 3]
    assert registry.names() == ["late"]


def test_what_is_published_is_the_package(registry, package):
    registry.publish("late", package)
    assert read_package(registry.resolve("late")).manifest == read_package(package).manifest
    note = json.loads((package.parent / "registry/late/1/version.json").read_text())
    assert (note["name"], note["version"], note["status"]) == ("late", 1, "passed")


def test_references(registry, package):
    for _ in range(11):
        registry.publish("late", package)
    registry.set_alias("late", "challenger", 7)
    ends = {"late": "1", "late@champion": "1", "late@3": "3", "late@challenger": "7", "late@latest": "11"}
    for reference, end in ends.items():
        assert registry.resolve(reference).endswith(f"/late/{end}")


def test_a_candidate_is_not_served_by_name_alone(registry, package):
    registry.publish("late", package, status="candidate")
    with pytest.raises(InputError, match="late@1"):
        registry.resolve("late")
    assert registry.resolve("late@1").endswith("/late/1")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("later", "there are: late"),
        ("late@9", "no version 9"),
        ("late@chalenger", "champion, latest"),
        ("late@0", "no version or alias"),
        ("late@-1", "no version or alias"),
        ("late@../1", "no version or alias"),
    ],
)
def test_a_wrong_reference_says_what_there_is(registry, package, reference, said):
    registry.publish("late", package)
    with pytest.raises(InputError, match=said):
        registry.resolve(reference)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "-a", ".a", "a b", "a\n", "ä", "a" * 101, "a\0"]
)
def test_names_that_could_leave_the_registry_are_refused(registry, package, name):
    for act in (registry.versions, registry.resolve, registry.describe, registry.aliases):
        with pytest.raises(InputError):
            act(name)
    with pytest.raises(InputError):
        registry.publish(name, package)
    assert not (package.parent / "registry").exists()


@pytest.mark.parametrize("alias", ["latest", "3", "", "../x", "a/b"])
def test_aliases_that_mean_something_else_are_refused(registry, package, alias):
    registry.publish("late", package)
    with pytest.raises(InputError):
        registry.set_alias("late", alias, 1)


def test_an_alias_moves_with_its_history(registry, package):
    publish_some(registry.url, package, 3)
    registry.set_alias("late", "champion", 3)
    registry.set_alias("late", "champion", 2, expected=3)
    moves = [(move["alias"], move["before"], move["version"]) for move in registry.alias_history("late")]
    assert moves == [("champion", None, 1), ("champion", 1, 3), ("champion", 3, 2)]
    with pytest.raises(InputError, match="stands for version 2, not 1"):
        registry.set_alias("late", "champion", 3, expected=1)
    with pytest.raises(InputError, match="no version 4"):
        registry.set_alias("late", "champion", 4)
    assert registry.aliases("late") == {"champion": 2}


def test_no_move_of_an_alias_is_lost(registry, package):
    publish_some(registry.url, package, 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: registry.set_alias("late", f"alias-{i}", 1 + i % 2), range(24)))
    assert registry.aliases("late") == {"champion": 1, **{f"alias-{i}": 1 + i % 2 for i in range(24)}}
    assert len(registry.alias_history("late")) == 25


def test_of_many_that_expect_the_same_one_moves(registry, package):
    publish_some(registry.url, package, 9)

    def move(version):
        try:
            registry.set_alias("late", "champion", version, expected=1)
        except InputError:
            return 0
        return version

    with ThreadPoolExecutor(8) as pool:
        moved = [version for version in pool.map(move, range(2, 10)) if version]
    assert registry.aliases("late") == {"champion": moved[0]}
    assert len(moved) == 1


def test_eight_threads_at_once_make_distinct_whole_versions(registry, package):
    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(lambda _: registry.publish("late", package), range(16)))
    assert versions == list(range(1, 17)) == registry.versions("late")
    for version in versions:
        read_package(registry.resolve(f"late@{version}"))
    assert len([move for move in registry.alias_history("late") if move["alias"] == "champion"]) == 1


def test_four_processes_at_once_make_distinct_whole_versions(registry, package):
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        found = pool.starmap(publish_some, [(registry.url, str(package), 4)] * 4, chunksize=1)
    versions = sorted(version for some in found for version in some)
    assert versions == list(range(1, 17)) == registry.versions("late")
    for version in versions:
        note = json.loads((package.parent / f"registry/late/{version}/version.json").read_text())
        assert note["version"] == version
        read_package(registry.resolve(f"late@{version}"))


def test_a_writer_killed_midway_leaves_nothing_visible(registry, package):
    registry.publish("late", package)
    script = textwrap.dedent("""
        import sys, time, pathlib
        real = pathlib.Path.write_bytes
        def slow(self, content):
            done = real(self, content)
            if self.name == "pipeline.skops":
                print("midway", flush=True)
                time.sleep(60)
            return done
        pathlib.Path.write_bytes = slow
        from headrace.packaging.registry import Registry
        Registry(sys.argv[1]).publish("late", sys.argv[2])
    """)
    writer = subprocess.Popen(
        [sys.executable, "-c", script, registry.url, str(package)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "midway\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert registry.versions("late") == [1]
    assert [row["version"] for row in registry.describe("late")] == [1]
    assert registry.publish("late", package) == 2


def test_a_damaged_package_is_not_published(registry, package):
    (package / "card.md").write_text("changed")
    with pytest.raises(PackageError, match=r"card\.md"):
        registry.publish("late", package)
    assert registry.names() == []


def test_a_published_manifest_cannot_be_changed_unseen(registry, package):
    registry.publish("late", package)
    path = package.parent / "registry/late/1/manifest.json"
    path.write_text(path.read_text().replace("0.731", "0.999"))
    with pytest.raises(PackageError, match=r"manifest\.json was changed"):
        read_package(registry.resolve("late"))


def test_describe_gives_a_row_a_version(registry, package):
    registry.publish("late", package)
    registry.publish("late", package, status="candidate")
    registry.publish("other", package)
    newest, oldest = registry.describe("late")
    assert (newest["version"], newest["status"], newest["alias"]) == (2, "candidate", "")
    assert (oldest["version"], oldest["status"], oldest["alias"]) == (1, "passed", "champion")
    assert (oldest["metric"], oldest["value"], oldest["task"]) == ("roc_auc", 0.731, "classification")
    assert len(oldest["model_sha256"]) == 64
    assert [row["name"] for row in registry.describe()] == ["late", "late", "other"]
    with pytest.raises(InputError, match="no model 'none'"):
        registry.describe("none")


def test_files_in_the_registry_that_are_no_models_are_passed_over(registry, package):
    registry.publish("late", package)
    place = package.parent / "registry"
    (place / "notes.txt").write_text("x")
    (place / "empty").mkdir()
    (place / "late" / "draft").mkdir()
    (place / "late" / "5").mkdir()
    assert registry.names() == ["late"]
    assert registry.versions("late") == [1]


def test_works_on_another_file_system(package):
    registry = Registry("memory://registry-test")
    assert registry.publish("late", package) == 1
    assert registry.publish("late", package) == 2
    registry.set_alias("late", "challenger", 2)
    assert registry.aliases("late") == {"champion": 1, "challenger": 2}
    assert read_package(registry.resolve("late@challenger")).manifest == read_package(package).manifest


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_registry_that_cannot_be_written_says_so(registry, package):
    place = package.parent / "registry"
    place.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission"):
        registry.publish("late", package)


def test_a_registry_that_is_a_file_says_so(registry, package):
    (package.parent / "registry").write_text("x")
    started = time.monotonic()
    with pytest.raises(StorageError):
        registry.publish("late", package)
    assert time.monotonic() - started < 30


def bare_versions(url: str, count: int) -> Registry:
    """Versions of which only what makes them visible is there; the first is champion."""
    for version in range(1, count + 1):
        storage.write_bytes(storage.join(url, "late", str(version), MANIFEST), b"{}")
    held = Registry(url)
    held.set_alias("late", "champion", 1)
    return held


@pytest.mark.parametrize("place", ["memory", "s3", "gcs"])
def test_of_many_who_write_the_same_bytes_at_the_same_second_one_moves(
    place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://{uuid.uuid4()}" if place == "memory" else str(request.getfixturevalue(place))
    monkeypatch.setattr("headrace.packaging.registry._now", lambda: "2026-01-01T00:00:00+00:00")
    held = bare_versions(url, 2)
    together = threading.Barrier(8)
    created = storage.create

    def create(target: str, data: bytes) -> bool:
        together.wait(30)  # all have seen the alias as it was
        return created(target, data)

    def move(_: int) -> bool:
        try:
            held.set_alias("late", "champion", 2, expected=1)
        except InputError:
            return False
        return True

    with monkeypatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(storage, "create", create)
        assert sum(pool.map(move, range(8))) == 1
    moves = [(move["before"], move["version"]) for move in held.alias_history("late")]
    assert moves == [(None, 1), (1, 2)]


def test_an_answer_that_was_lost_does_not_make_a_second_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = bare_versions(f"memory://{uuid.uuid4()}", 2)
    kind = type(storage.open_filesystem(held.url)[0])
    written = kind.pipe_file

    def lost(self: Any, path: str, *given: Any, **named: Any) -> None:
        written(self, path, *given, **named)
        raise FileExistsError(path)  # as the store says to the request that is repeated

    monkeypatch.setattr(kind, "pipe_file", lost)
    held.set_alias("late", "champion", 2, expected=1)
    assert len(held.alias_history("late")) == 2


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(["champion", "arm"]), st.integers(1, 3)), min_size=2, max_size=12),
    st.data(),
)
def test_clocks_that_are_apart_leave_one_order_of_moves(
    moves: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Whatever the clocks of the writers say, the moves are a chain whose end is where the aliases stand."""
    hours = data.draw(st.lists(st.integers(0, 23), min_size=len(moves), max_size=len(moves)))
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        held = bare_versions(place, 3)
        said = iter(hours)
        patch.setattr(
            "headrace.packaging.registry._now", lambda: f"2026-01-01T{next(said, 0):02}:00:00+00:00"
        )
        list(pool.map(lambda move: held.set_alias("late", *move), moves))
        stands: dict[str, int] = {}
        for move in held.alias_history("late"):
            assert move["before"] == stands.get(move["alias"])
            stands[move["alias"]] = move["version"]
        assert stands == held.aliases("late")
        assert len(held.alias_history("late")) == 1 + len(moves)
