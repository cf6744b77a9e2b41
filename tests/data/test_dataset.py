from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.data.dataset import Dataset
from headrace.data.reading import last_read
from headrace.errors import DataError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data.conftest import Write

STRANGE = ["with space", "grüße", "日本", 'quo"te', "it's", "a.b", "`tick`"]


def _computed(frame: Any) -> Any:
    return frame.compute(scheduler="sync")


def _root(write: Write) -> Path:
    return write("a.parquet", {"x": [1, 2, None], "s": ["b", "a", "b"]}).parent


def test_footers_tell_rows_nulls_extremes_and_sizes(write: Write) -> None:
    data = Dataset(str(_root(write)))
    assert (data.rows, len(data.files), len(data.chunks)) == (3, 1, 1)
    x = data.columns["x"]
    assert (x.type, x.nulls, x.minimum, x.maximum) == (pa.int64(), 1, 1, 2)
    assert (data.columns["s"].minimum, data.columns["s"].maximum) == ("a", "b")
    assert data.bytes == sum(column.bytes for column in data.columns.values()) == data.chunks[0].bytes


@pytest.mark.parametrize("pattern", ["", "*.parquet", "a.parquet", "[ab].parquet"])
def test_directories_globs_and_files(write: Write, pattern: str) -> None:
    root = _root(write)
    data = Dataset(os.fspath(root / pattern))
    assert [file.key for file in data.files] == ["a.parquet"]


def test_names_that_begin_with_an_underscore_or_a_dot_are_ignored(write: Write) -> None:
    root = _root(write)
    for name in ("_SUCCESS", ".x.crc", "_old/b.parquet", ".tmp/b.parquet"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    assert len(Dataset(str(root)).files) == 1


def test_a_relative_path_is_kept_as_given_and_read_from_anywhere(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _root(write)
    monkeypatch.chdir(root.parent)
    data = Dataset("data")
    monkeypatch.chdir("/")
    assert data.url == "data"
    assert data.head().x.tolist()[:2] == [1, 2]


def test_files_come_in_natural_order(write: Write) -> None:
    for number in (10, 2, 1):
        write(f"part-{number}.parquet", {"x": [number]})
    root = write("part-0.parquet", {"x": [0]}).parent
    assert _computed(Dataset(str(root)).to_dask()).x.tolist() == [0, 1, 2, 10]


def test_any_fsspec_url(write: Write) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/lake/m=1/a.parquet", _root(write).joinpath("a.parquet").read_bytes())
    for url in ("memory://lake", "memory://lake/m=*/*.parquet"):
        data = Dataset(url)
        assert data.files[0].path == "memory:///lake/m=1/a.parquet"
        assert _computed(data.to_dask(dictionary=True)).m.tolist() == [1, 1, 1]
    filesystem.rm("/lake", recursive=True)


def test_hive_directories_are_columns(write: Write) -> None:
    write("month=2/kind=a b/x.parquet", {"x": [1]})
    write("month=10/kind=c%2Fd/x.parquet", {"x": [2, 3]})
    root = write("month=11/kind=__HIVE_DEFAULT_PARTITION__/x.parquet", {"x": [4]}).parents[2]
    data = Dataset(str(root))
    assert data.schema == pa.schema({"x": pa.int64(), "month": pa.int64(), "kind": pa.string()})
    kind = data.columns["kind"]
    assert (kind.nulls, kind.minimum, kind.maximum, kind.bytes) == (1, "a b", "c/d", 0)
    for dictionary in (False, True):
        frame = _computed(data.to_dask(dictionary=dictionary))
        assert frame.month.tolist() == [2, 10, 10, 11]
        assert frame.kind.fillna("?").tolist() == ["a b", "c/d", "c/d", "?"]


def test_a_hive_column_that_files_hold_too_is_read_from_the_files(write: Write) -> None:
    data = Dataset(str(write("month=1/x.parquet", {"month": [7]}).parents[1]))
    assert data.head().month.tolist() == [7]
    assert "month" in data.notes[0]


def test_a_file_outside_the_hive_directories_is_named(write: Write) -> None:
    write("month=1/x.parquet", {"x": [1]})
    root = write("stray.parquet", {"x": [1]}).parent
    with pytest.raises(DataError, match=r"stray\.parquet: is not below a directory month="):
        Dataset(str(root))


@pytest.mark.parametrize("dictionary", [False, True])
def test_files_that_differ_are_promoted_and_noted(write: Write, dictionary: bool) -> None:
    write(
        "1.parquet",
        {
            "i": pa.array([1, None], pa.int32()),
            "f": pa.array([1, 2], pa.float32()),
            "n": [1, None],
            "s": ["a", None],
            "c": pa.array(["u", "v"]).dictionary_encode(),
            "z": pa.nulls(2),
        },
    )
    root = write(
        "2.parquet",
        {
            "z": ["z"],
            "s": pa.array(["b"], pa.large_string()),
            "i": [1 << 40],
            "f": [0.1],
            "n": [0.5],
            "c": ["v"],
            "new": [True],
        },
    ).parent
    data = Dataset(str(root))
    frame = _computed(data.to_dask(dictionary=dictionary))
    assert frame.i.fillna(-1).tolist() == [1, -1, 1 << 40]
    assert frame.f.tolist() == [1.0, 2.0, 0.1]
    assert frame.n.fillna(-1).tolist() == [1.0, -1.0, 0.5]
    assert frame.s.fillna("?").tolist() == ["a", "?", "b"]
    assert frame.c.tolist() == ["u", "v", "v"]
    assert frame.z.fillna("?").tolist() == ["?", "?", "z"]
    assert frame.new.isna().tolist() == [True, True, False]
    assert data.schema.field("c").type == pa.string()
    assert data.columns["new"].nulls == 2
    assert data.columns["i"].maximum == 1 << 40
    text = "\n".join(data.notes)
    for note in (
        "1.parquet: column 'i' promoted from int32 to int64",
        "column 's' promoted from string to large_string",
        "column 'n' promoted from int64 to double",
        "1.parquet: no column 'new', read as nulls",
    ):
        assert note in text


def test_notes_stay_few_when_many_files_differ(write: Write) -> None:
    for number in range(9):
        write(f"{number}.parquet", {"x": pa.array([1], pa.int32())})
    root = write("9.parquet", {"x": [1]}).parent
    assert [note.rpartition("/")[2] for note in Dataset(str(root)).notes] == [
        "0.parquet and 8 more files: column 'x' promoted from int32 to int64"
    ]


def test_types_that_do_not_fit_are_one_error(write: Write) -> None:
    write("1.parquet", {"x": [1]})
    root = write("2.parquet", {"x": ["a"]}).parent
    with pytest.raises(DataError, match=r"2\.parquet: column 'x' is string here and int64 in .*1\.parquet"):
        Dataset(str(root))


def test_long_integers_do_not_become_floats(write: Write) -> None:
    write("1.parquet", {"x": [(1 << 53) + 1]})
    root = write("2.parquet", {"x": [0.5]}).parent
    with pytest.raises(DataError, match="column 'x' is double here and int64"):
        Dataset(str(root))


def test_files_without_rows_among_good_ones(write: Write) -> None:
    write("0.parquet", pa.table({"x": pa.array([], pa.int64())}))
    schema = pa.schema({"x": pa.int64()})
    root = _root(write)
    pq.ParquetWriter(root / "b.parquet", schema).close()  # no row group at all
    data = Dataset(str(root))
    assert data.rows == 3
    assert "0.parquet and 1 more file: no rows" in data.notes[0]
    assert len(_computed(data.to_dask())) == 3


def test_no_rows_at_all(write: Write) -> None:
    root = write("0.parquet", pa.table({"x": pa.array([], pa.int64())})).parent
    with pytest.raises(DataError, match="holds no rows"):
        Dataset(str(root))


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in {
        "missing": "missing: does not exist; give a Parquet file",
        "empty": "empty: is an empty directory; give",
        "*.parquet": r"\*\.parquet: matches no file; give",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            Dataset(str(tmp_path / name))
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"b\.parquet: is not a Parquet file \(0 bytes\)"),
        (b"a,b\n1,2\n", r"b\.parquet: is not a Parquet file; remove it, or give a glob.* ingest makes"),
        (b"x", r"b\.parquet: is not a Parquet file"),
    ],
)
def test_what_is_not_parquet_is_named(write: Write, content: bytes, message: str) -> None:
    root = _root(write)
    (root / "b.parquet").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Dataset(str(root))


@pytest.mark.parametrize("cut", [1, 4, 9, 300])
def test_a_truncated_file_is_named(write: Write, cut: int) -> None:
    path = write("a.parquet", {"x": list(range(100))})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"a\.parquet: is a truncated or damaged Parquet file"):
        Dataset(str(path.parent))


def test_two_columns_of_one_name_are_refused(write: Write) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(DataError, match=r"a\.parquet: has 2 columns named 'x'; rename"):
        Dataset(str(write("a.parquet", table).parent))


def test_strange_column_names(write: Write) -> None:
    root = write("a.parquet", {name: [name] for name in STRANGE}).parent
    data = Dataset(str(root))
    frame = data.to_dask(dictionary=True)
    assert _computed(frame[STRANGE[::-1]]).iloc[0].tolist() == STRANGE[::-1]
    assert "grüße" in data._repr_html_()


def test_a_name_that_is_html_stays_text(write: Write) -> None:
    data = Dataset(str(write("a.parquet", {"<script>alert(1)</script>": ["<b>"]}).parent))
    shown = data._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "<b>" not in shown


def test_an_unknown_column_is_answered_with_the_nearest(write: Write) -> None:
    data = Dataset(str(write("a.parquet", {"carrier": ["x"], "distance": [1]}).parent))
    with pytest.raises(DataError, match="has no column 'carier'; did you mean 'carrier'"):
        data.to_dask(["carier"])
    with pytest.raises(InputError, match="has no column 'zzz'; it has carrier, distance"):
        data.check_columns(["distance", "zzz"])


def test_types_are_kept(write: Write) -> None:
    moment = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
    columns = {
        "ns": pa.array([1], pa.timestamp("ns", "Europe/Paris")),
        "us": pa.array([moment], pa.timestamp("us", "UTC")),
        "ms": pa.array([1], pa.timestamp("ms")),
        "day": pa.array([dt.date(2020, 1, 1)]),
        "list": pa.array([[1, 2]]),
        "struct": pa.array([{"a": 1, "b": "x"}]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "after": pa.array([1], pa.int8()),
    }
    data = Dataset(str(write("a.parquet", columns).parent))
    frame = _computed(data.to_dask(dictionary=True))
    assert [str(kind.pyarrow_dtype) for kind in frame.dtypes] == [str(field.type) for field in data.schema]
    assert data.schema.field("ns").type == pa.timestamp("ns", "Europe/Paris")
    assert data.columns["us"].minimum == moment
    assert (data.columns["list"].nulls, data.columns["after"].maximum) == (None, 1)


def test_partition_i_is_chunk_i_and_rows_hold(write: Write) -> None:
    values = np.arange(3_000_000, dtype=np.float64)
    root = write("a.parquet", {"x": values[:2_000_000]}, row_group_size=400_000).parent
    write("b.parquet", {"x": values[2_000_000:]}, row_group_size=400_000)
    data = Dataset(str(root), memory=64 << 20)
    assert len(data.chunks) > 2
    frame = data.to_dask()
    assert frame.npartitions == len(data.chunks)
    start = 0
    for chunk in data.chunks:
        part = _computed(frame.partitions[chunk.index])
        assert np.array_equal(part.x.to_numpy(), values[start : start + chunk.rows])
        assert last_read().rows == chunk.rows
        start += chunk.rows
    assert start == data.rows


def test_only_the_columns_that_are_used_are_read(write: Write) -> None:
    columns = {name: np.random.default_rng(0).random(1000) for name in "abcd"}
    data = Dataset(str(write("x.parquet", columns).parent))
    frame: Any = data.to_dask()
    projected = frame[["d", "b"]].optimize(fuse=True)
    assert len(projected.dask) == len(data.chunks)
    assert _computed(projected).columns.tolist() == ["d", "b"]
    count = last_read()
    assert count.bytes == data.columns["b"].bytes + data.columns["d"].bytes
    assert (count.rows, count.chunks) == (1000, 1)
    assert _computed(frame.a.sum()) == pytest.approx(columns["a"].sum())
    assert last_read().bytes == data.columns["a"].bytes
    assert _computed(frame.map_partitions(len, meta=(None, "int64"))).tolist() == [1000]
    assert last_read().bytes == data.bytes
    none = data.to_dask()[[]]
    assert len(_computed(none)) == 1000
    assert (last_read().rows, last_read().bytes) == (1000, 0)


def test_text_stays_codes_when_asked(write: Write) -> None:
    data = Dataset(str(write("x.parquet", {"s": ["a", "b", "a"]}).parent))
    coded = data.to_dask(dictionary=True)
    assert coded.s.dtype == pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    assert _computed(coded).s.dtype == coded.s.dtype
    assert data.to_dask().s.dtype == pd.ArrowDtype(pa.string())


def test_head_shows_the_first_rows(write: Write) -> None:
    data = Dataset(str(write("x.parquet", {"x": list(range(10))}, row_group_size=4).parent))
    assert data.head(2).x.tolist() == [0, 1]
    assert data.head(99).x.tolist() == [0, 1, 2, 3]


def test_the_fingerprint_follows_the_data(write: Write) -> None:
    root = _root(write)
    before = Dataset(str(root)).fingerprint
    assert Dataset(str(root / "*.parquet"), memory=1).fingerprint == before
    write("b.parquet", {"x": [1]})
    assert Dataset(str(root)).fingerprint != before


def test_metadata_is_what_all_files_agree_on(write: Write) -> None:
    table = pa.table({"x": [1]})
    write("a.parquet", table.replace_schema_metadata({"k": "1", "own": "a"}))
    root = write("b.parquet", table.replace_schema_metadata({"k": "1", "own": "b"})).parent
    assert Dataset(str(root)).metadata == {"k": "1"}


def test_a_footer_is_read_once_until_the_file_changes(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.parquet", {"x": [1]})
    read: list[str] = []
    real = pq.read_metadata

    def counted(where: str) -> pq.FileMetaData:
        read.append(where)
        return real(where)

    monkeypatch.setattr(pq, "read_metadata", counted)
    assert Dataset(str(path)).rows == Dataset(str(path)).rows == 1
    assert len(read) == 1
    write("a.parquet", {"x": [1, 2]})
    assert Dataset(str(path)).rows == 2
    assert len(read) == 2


def test_estimated_memory_is_near_what_is_decoded(write: Write) -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["alpha", "beta", "gamma"], 50_000).tolist()
    columns = {"x": rng.random(50_000), "i": rng.integers(0, 9, 50_000, dtype=np.int8), "s": words}
    data = Dataset(str(write("x.parquet", columns).parent))
    frame = _computed(data.to_dask(dictionary=True))
    held = pa.Table.from_pandas(frame, preserve_index=False).nbytes
    assert held <= data.chunks[0].memory <= 1.15 * held
