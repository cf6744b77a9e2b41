from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from headrace.data import clicks, samples
from headrace.data.dataset import Dataset
from headrace.data.samples import write_sample
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of two row groups of a thousand rows."""
    monkeypatch.setattr(clicks, "ROWS_A_GROUP", 1000)
    monkeypatch.setattr(clicks, "GROUPS_A_FILE", 2)


def _hashes(directory: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())]


@pytest.mark.parametrize("rows", [1, 1000, 1001, 4999])
@pytest.mark.usefixtures("_small")
def test_any_number_of_rows(tmp_path: Path, rows: int) -> None:
    sample = write_sample("clicks", tmp_path / "c", rows=rows, workers=1)
    data = Dataset(str(tmp_path / "c"))
    assert data.rows == sample.rows == rows
    assert len(data.files) == sample.files == -(-rows // 2000)
    assert sum(file.size for file in data.files) == sample.bytes
    assert max(group.rows for file in data.files for group in file.row_groups) <= 1000
    assert data.metadata["bayes_auc"] == sample.metadata["bayes_auc"]
    assert 0.7 < float(data.metadata["bayes_auc"]) < 0.85


def test_the_real_sizes_and_text_types(tmp_path: Path) -> None:
    write_sample("clicks", tmp_path / "c", rows=250_100, workers=1)
    data = Dataset(str(tmp_path / "c"))
    assert [group.rows for group in data.files[0].row_groups] == [250_000, 100]
    assert str(data.schema.field("publisher").type) == "string"
    assert 80 * data.rows < data.bytes < 110 * data.rows


def test_the_auc_does_not_depend_on_the_rows(tmp_path: Path) -> None:
    first, second = (write_sample("clicks", tmp_path / str(rows), rows=rows, seed=5) for rows in (10, 20))
    assert first.metadata == second.metadata
    assert first.metadata["seed"] == "5"


@pytest.mark.slow
def test_the_same_bytes_from_one_and_from_two_processes(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        write_sample("clicks", tmp_path / name, rows=1_000_010, seed=1, workers=workers)
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "two")


@pytest.mark.usefixtures("_small")
def test_the_seed_decides_about_the_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sample("clicks", tmp_path / name, rows=3000, seed=seed, workers=1)
    assert _hashes(tmp_path / "a") == _hashes(tmp_path / "b") != _hashes(tmp_path / "c")


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    for place in (tmp_path, tmp_path / "x"):
        with pytest.raises(InputError, match="exists already and is not empty; name a new directory"):
            write_sample("clicks", place, rows=10)
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("click", 10, "there is no sample 'click'; choose one of clicks, flights"),
        ("clicks", 0, "rows is 0; give at least 1"),
        ("flights", 10, "fixed number of rows"),
    ],
)
def test_wrong_input_is_named_and_nothing_written(tmp_path: Path, name: str, rows: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_sample(name, tmp_path / "c", rows=rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_small")
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: samples._File) -> int:
        file.path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(samples, "_write_file", fail)
    with pytest.raises(StorageError, match="c: the disk is full"):
        write_sample("clicks", tmp_path / "c", rows=10, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_small")
def test_pages_carry_checksums(tmp_path: Path) -> None:
    write_sample("clicks", tmp_path / "c", rows=1000, workers=1)
    path = tmp_path / "c" / "part-00000.parquet"
    place = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[place.data_page_offset + 500] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)
