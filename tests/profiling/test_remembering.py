"""What was found in a chunk is found again without reading it, and only while nothing about it has changed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.base import clone

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
from headrace.engine.order import TEST
from headrace.erasing import erase
from headrace.opening import open_data
from headrace.runs import RunResult, Workflow

if TYPE_CHECKING:
    from pathlib import Path

FILES, ROWS = 4, 500
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def table(number: int) -> pa.Table:
    rng = np.random.default_rng(number)
    x = rng.normal(size=ROWS)
    return pa.table(
        {
            "who": number * ROWS + np.arange(ROWS),
            "x": x,
            "town": rng.choice(["Ulm", "Bonn"], ROWS),
            "y": 2 * x + rng.normal(size=ROWS),
        }
    )


def workflow(place: Path, url: str, *, model: str = "Ridge", more: Any = None, **data: Any) -> Workflow:
    document = {
        "problem": {"name": "amount", "objective": "y", "task": "regression", "target": "y"},
        "data": {"url": url, "drop": ["who"], **data},
        "models": [{"name": "linear", "estimator": f"sklearn.linear_model.{model}"}],
        "checks": {"on_fail": "warn"},
        "publish": {"registry": str(place / "registry")},
        **(more or {}),
    }
    return Workflow.parse(yaml.safe_dump(document))


def train(place: Path, url: str, name: str, **data: Any) -> RunResult:
    return workflow(place, url, **data).run(THREADS, str(place / name))


def passed(result: RunResult, name: str) -> dict[str, Any]:
    """Return the record of a pass, whose name says in terms of which earlier preparation its products are."""
    return next(
        each for each in result.run["passes"] if re.fullmatch(f"{name}( [0-9a-f]{{8}})?", each["name"])
    )


def profiled(result: RunResult) -> dict[str, Any]:
    return passed(result, "profile")


def linear(place: Path) -> Any:
    """Return the last step of the model of a run."""
    return hr.load(place / "model").pipeline[-1]


def test_after_an_erasure_only_what_it_touched_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 1)
    monkeypatch.setattr(chunks, "SHARE", 1 << 16)  # a chunk a file
    (tmp_path / "data").mkdir()
    for number in range(FILES):
        pq.write_table(table(number), tmp_path / "data" / f"{number}.parquet")
    url, kept = str(tmp_path / "data"), tmp_path / "kept"
    first = train(tmp_path, url, "first", remembered=str(kept))
    whole = profiled(first)
    assert whole["chunks"] == FILES
    assert len(list(kept.glob("*.chunk"))) == 2 * FILES  # a profile and the products of each
    assert len(list(kept.glob("*.preparation"))) == 1
    again = train(tmp_path, url, "again", remembered=str(kept))
    assert profiled(again)["bytes"] == passed(again, "exact")["bytes"] == 0
    assert again.run["model_sha256"] == first.run["model_sha256"]
    erase(Dataset(url), "who", [str(ROWS + 7)], remembered=str(kept))
    assert len(list(kept.glob("*.chunk"))) == 2 * (FILES - 1)
    after = train(tmp_path, url, "after", remembered=str(kept))
    scratch = train(tmp_path, url, "scratch")
    assert 0 < profiled(after)["bytes"] < whole["bytes"] / 2
    assert 0 < passed(after, "exact")["bytes"] < passed(first, "exact")["bytes"] / 2
    ours, theirs, before = (linear(tmp_path / name) for name in ("after", "scratch", "first"))
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-9)
    assert np.abs(ours.coef_ - before.coef_).max() > 1e-9
    profiles = [json.loads((tmp_path / name / "profile.json").read_text()) for name in ("after", "scratch")]
    assert profiles[0] == profiles[1]
    other = train(tmp_path, url, "other", remembered=str(kept), where="town == 'Ulm'")
    assert profiled(other)["bytes"] > 0
    for path in kept.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damaged = train(tmp_path, url, "damaged", remembered=str(kept))
    assert damaged.run["model_sha256"] == scratch.run["model_sha256"]


@pytest.mark.parametrize("model", ["Ridge", "LinearRegression"])
def test_without_a_person_the_model_is_that_of_scikit_learn_on_the_rest(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 1)
    monkeypatch.setattr(chunks, "SHARE", 1 << 16)
    (tmp_path / "data").mkdir()
    for number in range(FILES):
        rng, made = np.random.default_rng(number + 50), table(number)
        gaps = pa.array(np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(9, 3, ROWS)), from_pandas=True)
        far = pa.array(np.arange(ROWS) == 8).cast(pa.int64())  # who is erased stands out
        made = made.append_column("z", gaps).append_column("far", far)
        pq.write_table(made, tmp_path / "data" / f"{number}.parquet")
    url, kept = str(tmp_path / "data"), str(tmp_path / "kept")
    drop = ["who"] if model == "Ridge" else ["who", "town"]  # all towns and a constant are dependent
    prepare = {"numeric": {"indicator": False, "clip": None}}
    flow = workflow(
        tmp_path, url, model=model, drop=drop, remembered=kept,
        more={"prepare": prepare, "validation": {"kind": "kfold", "folds": 3}},
    )  # fmt: skip
    first = flow.run(THREADS, str(tmp_path / "first"))
    gone = [str(ROWS + 7), str(ROWS + 8), str(ROWS + 9)]
    told = erase(Dataset(url), "who", gone, remembered=kept)
    assert (told["rows"], told["files"]) == (3, ["1.parquet"])
    after = flow.run(THREADS, str(tmp_path / "after"))
    touched = Dataset(str(tmp_path / "data" / "1.parquet"))
    for name in ("profile", "exact", "final exact"):
        assert passed(first, name)["chunks"] == FILES
        assert 0 < passed(after, name)["bytes"] <= touched.bytes < passed(first, name)["bytes"] / 2
    opened = open_data(flow.options, 1 << 30)
    learnt = []
    for chunk in opened.dataset.chunks:
        rows = read_chunk(chunk, opened.dataset.schema, opened.dataset.schema.names, dictionary=False)
        learnt.append(rows.filter(pa.array(opened.splitter.parts(rows, chunk) != TEST)))
    rest = pa.concat_tables(learnt)
    held = hr.load(tmp_path / "after" / "model")
    refitted = clone(held.pipeline).fit(held.frame(rest.to_pandas()), rest["y"].to_numpy())[-1]
    ours, before = held.pipeline[-1], linear(tmp_path / "first")
    np.testing.assert_allclose(ours.coef_, refitted.coef_, rtol=1e-9, atol=1e-12)
    assert ours.intercept_ == pytest.approx(refitted.intercept_, rel=1e-9)
    assert np.abs(ours.coef_ - before.coef_).max() > 1e-6
    assert passed(first, "exact")["name"] == "exact" != passed(after, "exact")["name"]
