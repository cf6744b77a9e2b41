"""Finders look at every chunk in the profile's own pass; what they find is committed with it and read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.data.dataset import Dataset
from headrace.engine.ledger import Ledger
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.engine.splits import Splitter
from headrace.exploring import survey
from headrace.profiling.measure import measure
from headrace.profiling.survey import dump_survey, load_survey

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from headrace.data.dataset import Chunk


@dataclass(frozen=True)
class Total:
    value: int

    def merge(self, other: Self) -> Self:
        return type(self)(self.value + other.value)

    def state(self) -> dict[str, Any]:
        return {"value": self.value}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(**state)


@dataclass(frozen=True)
class Adds:
    name: str = "total of x"
    columns: tuple[str, ...] = ("x",)
    finding: type[Total] = Total

    def find(self, table: pa.Table, chunk: Chunk) -> Total:
        assert table.num_rows == chunk.rows
        return Total(int(np.sum(table["x"].to_numpy())))


@dataclass(frozen=True)
class Counts:
    name: str = "rows"
    columns: tuple[str, ...] = ()
    finding: type[Total] = Total

    def find(self, _table: pa.Table, chunk: Chunk) -> Total:
        return Total(chunk.rows)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    for part in range(4):
        wide = {f"fill{i}": np.zeros(1000) for i in range(600)}
        table = pa.table({"x": np.arange(1000) + 1000 * part, **wide})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    return Dataset(str(tmp_path), memory=64 << 20)


def test_a_finder_sees_every_row_once_in_the_one_pass(threads: Client, data: Dataset, tmp_path: Path) -> None:
    assert len(data.chunks) > 1
    reader = Reader(threads, ledger=Ledger(str(tmp_path / "ledger")))
    source = source_of(data, ["x"])
    splitter = Splitter(seed=1, test=0.2, validation=0.2)
    found = measure(reader, source, target=None, splitter=splitter, finders=[Adds()])
    assert found.findings == {"total of x": Total(4000 * 3999 // 2)}
    assert [record.rows for record in reader.records] == [4000]
    assert found.whole.rows == 4000

    class Unread(Adds):
        def find(self, table: pa.Table, chunk: Chunk) -> Total:
            raise AssertionError("a pass that is done is not read again")

    again = measure(
        Reader(threads, ledger=Ledger(str(tmp_path / "ledger"))),
        source,
        target=None,
        splitter=splitter,
        finders=[Unread()],
    )
    assert again.findings == found.findings
    assert again.whole.to_dict() == found.whole.to_dict()


def test_a_survey_is_read_back_from_its_bytes(tmp_path: Path) -> None:
    from headrace.cluster.config import ClusterFile

    pq.write_table(pa.table({"x": [3, None, 5], "s": ["a", "b", None]}), tmp_path / "small.parquet")
    found = survey(
        str(tmp_path), finders=[Counts()], cluster=ClusterFile(workers=1, processes=False, memory=1 << 30)
    )
    assert found.findings == {"rows": Total(3)}
    again = load_survey(dump_survey(found), classes={"rows": Total})
    assert again.findings == found.findings
    assert again.whole.to_dict() == found.whole.to_dict()
