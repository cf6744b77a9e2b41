"""The delays example: columns made from the rows before, from the workflow file to a model that is scored and asked."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine.lookback import extend
from headrace.engine.passes import Reader
from headrace.errors import InputError
from headrace.opening import open_data
from headrace.scoring import score
from headrace.stages import look_back

if TYPE_CHECKING:
    from distributed import Client

EXAMPLE = Path(__file__).parent.parent / "examples" / "delays"
CLUSTER = ClusterFile(workers=2, processes=False, memory=1 << 30)
MADE = (
    "dep_delay_lag_1_by_tailnum", "dep_delay_lag_2_by_tailnum", "dep_delay_mean_30_by_origin",
    "dep_delay_max_30_by_origin", "dep_delay_mean_4h_by_carrier", "dep_delay_count_4h_by_carrier",
)  # fmt: skip


def small(**changes: Any) -> hr.Workflow:
    """The example on its first month, with changes to some sections."""
    document = yaml.safe_load((EXAMPLE / "workflow.yaml").read_text())
    document["data"]["split"]["test_from"] = "2013-01-25"
    document["evaluate"] = {"bootstrap": 20}
    for section, said in changes.items():
        document[section] = {**document.get(section, {}), **said} if section == "data" else said
    return hr.Workflow.parse(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the departures of a month and a run over them, in more chunks than one."""
    spec = importlib.util.spec_from_file_location("make_delays", EXAMPLE / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    here = tmp_path_factory.mktemp("delays")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(chunks, "LARGEST", 1 << 18)
        script.write("data/departures", months=1)
        assert small().run(cluster=CLUSTER, run_dir="run").passed
    return here


@pytest.fixture
def at_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_the_example_looks_back_over_chunks(at_place: Path) -> None:
    run = json.loads((at_place / "run/run.json").read_text())
    assert run["chunks"] > 3
    assert [each["name"] for each in run["passes"]][:2] == ["history", "profile"]
    assert run["data_passes"]["planned"] == 7
    plan = small().plan(CLUSTER, calibrate=True)
    assert any("6 columns from the rows before" in note for note in plan.notes)
    assert all(each.seconds is not None for each in plan.passes)
    metrics = run["best"]["metrics"]
    assert metrics["r2"]["value"] > 0.02
    signature = hr.load("run/model").signature
    assert signature.history is not None
    assert signature.history.names == MADE
    card = (at_place / "run/model/card.md").read_text()
    assert "of the same origin, in the order of scheduled, at least 3h older" in card


def test_scoring_makes_the_columns_and_predicting_takes_them(
    at_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pq.read_table("data/departures/month-01.parquet")
    model = hr.load("run/model")
    assert model.signature.history is not None
    whole = extend(model.signature.history, table, None)
    expected = model.predict(whole)

    predictions = []
    for number, largest in enumerate([1 << 18, 1 << 28]):
        monkeypatch.setattr(chunks, "LARGEST", largest)
        out = tmp_path / f"scores-{number}"
        score("run/model", "data/departures", str(out), cluster=CLUSTER, columns=["scheduled", "tailnum"])
        scored = pa.concat_tables([pq.read_table(file) for file in sorted(out.glob("part-*.parquet"))])
        np.testing.assert_allclose(
            scored["prediction"].to_numpy(), expected, rtol=0, atol=1e-3
        )  # ONNX in float32
        predictions.append(scored["prediction"].to_pylist())
    assert predictions[0] == predictions[1]

    last = whole.slice(whole.num_rows - 500)
    (tmp_path / "given").mkdir()
    pq.write_table(last.drop_columns(["tailnum", "scheduled"]), tmp_path / "given/a.parquet")
    score("run/model", str(tmp_path / "given"), str(tmp_path / "of-given"), cluster=CLUSTER)
    given = pq.read_table(tmp_path / "of-given/part-000000.parquet")
    np.testing.assert_allclose(given["prediction"].to_numpy(), expected[-500:], rtol=0, atol=1e-3)

    with pytest.raises(InputError, match="dep_delay_lag_1_by_tailnum"):
        model.predict(table.slice(0, 5))


def test_data_that_cannot_be_looked_back_at_are_refused(at_place: Path, tmp_path: Path) -> None:
    table = pq.read_table("data/departures/month-01.parquet")
    for name in ("short", "turned"):
        (tmp_path / name).mkdir()
    pq.write_table(table.drop_columns(["dep_delay"]), tmp_path / "short/a.parquet")
    with pytest.raises(InputError, match="has no column dep_delay, from which inputs of the model are made"):
        score("run/model", str(tmp_path / "short"), str(tmp_path / "out"), cluster=CLUSTER)
    pq.write_table(table.slice(0, 9_000), tmp_path / "turned/b.parquet")
    pq.write_table(table.slice(9_000), tmp_path / "turned/a.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: row group 0 is not in the order of 'scheduled'"):
        small(data={"url": str(tmp_path / "turned"), "where": None}).plan(CLUSTER)


def test_a_feature_function_sees_what_is_made(
    at_place: Path, threads: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_place / "worse.py").write_text(
        "def add(frame):\n"
        "    first, second = frame['dep_delay_lag_1_by_tailnum'], frame['dep_delay_lag_2_by_tailnum']\n"
        "    return frame.assign(worse=first - second)\n"
    )
    monkeypatch.syspath_prepend(str(at_place))
    monkeypatch.setattr(chunks, "LARGEST", 1 << 18)
    workflow = small(features={"function": "worse:add"}, validation={"kind": "holdout"}).options
    opened = look_back(open_data(workflow, 1 << 30), Reader(threads))
    assert len(opened.trained.parts) > 3
    assert {"worse", *MADE} <= set(opened.features)
    made = pa.concat_tables(part.read() for part in opened.trained.parts)
    assert opened.trained.history is not None
    table = pq.read_table("data/departures/month-01.parquet")
    whole = extend(opened.trained.history, table.filter(pc.is_valid(table["dep_delay"])), None)
    worse = pc.subtract(whole[MADE[0]], whole[MADE[1]])
    assert made["worse"].to_pylist() == worse.to_pylist()
