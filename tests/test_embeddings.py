"""Columns that a language model makes of texts: from the workflow file to a model that is scored and asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tests.sentences import WIDTH, WORDS, write_model

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine import embedding
from headrace.engine.embedding import WORK_BYTES, embed
from headrace.engine.passes import Reader
from headrace.errors import HeadraceError, InputError
from headrace.opening import open_data
from headrace.packaging.comparing import signature_differences
from headrace.scoring import score
from headrace.stages import look_back
from headrace.training.blocks import BlockMaker, Recipe, Target

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

CLUSTER = ClusterFile(workers=2, processes=False, memory=1 << 30)
ROWS = 3_000


def workflow(**data: Any) -> hr.Workflow:
    document = {
        "problem": {"name": "notes", "task": "classification", "target": "cold"},
        "data": {
            "url": "data",
            "time": "at",
            "drop": ["note"],
            "embeddings": [{"column": "note", "model": "model"}],
            **data,
        },
        "models": [{"name": "linear", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 20},
    }
    return hr.Workflow.parse(yaml.safe_dump(document))


def notes() -> pa.Table:
    rng = np.random.default_rng(5)
    words = rng.choice(WORDS[3:], (ROWS, 3))
    text = [None if i % 50 == 0 else " ".join(row) for i, row in enumerate(words)]
    at = np.datetime64("2026-01-01", "us") + np.arange(ROWS) * np.timedelta64(1, "h")
    return pa.table(
        {
            "at": at,
            "note": text,
            "size": rng.normal(size=ROWS),
            "cold": np.isin(words, ["fog", "ice"]).sum(axis=1) > 1,
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with notes, a sentence model, and a run over them."""
    here = tmp_path_factory.mktemp("notes")
    write_model(here / "model")
    (here / "data").mkdir()
    pq.write_table(notes(), here / "data/notes.parquet", row_group_size=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(chunks, "LARGEST", 1 << 16)
        workflow().run(cluster=CLUSTER, run_dir="run")
    return here


@pytest.fixture
def at_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_a_run_learns_from_what_texts_mean(at_place: Path) -> None:
    run = json.loads((at_place / "run/run.json").read_text())
    assert run["chunks"] > 1
    assert run["best"]["metrics"]["roc_auc"]["value"] > 0.8
    signature = hr.load("run/model").signature
    (made,) = signature.embeddings
    assert run["data"]["embeddings"] == [made.to_dict()]
    assert set(made.names) <= {column.name for column in signature.inputs}
    words = f"embedding of note in {WIDTH} numbers by the model model (sha256 {made.digest[:12]})"
    assert signature.made()["note_embedding_2"] == f"number 2 of the {words}"
    assert words in (at_place / "run/model/card.md").read_text()
    other = replace(signature, embeddings=(replace(made, digest="0" * 64),))
    assert signature_differences(signature, signature) == []
    assert signature_differences(signature, other) == [f"note: {words}, and {other.embeddings[0].words}"]


def test_the_plan_knows_the_columns_and_the_model(at_place: Path) -> None:
    plan = workflow().plan(CLUSTER)
    without = workflow(embeddings=[]).plan(CLUSTER)
    assert any(f"data.embeddings makes {WIDTH} columns of note" in note for note in plan.notes)
    assert plan.memory_projected - without.memory_projected > 2 * WORK_BYTES
    opened = open_data(workflow().options, 1 << 30)
    assert opened.dataset.widened(1 << 20).chunks[0].rows < opened.dataset.chunks[0].rows


def test_scoring_makes_the_columns_and_predicting_takes_them(at_place: Path, tmp_path: Path) -> None:
    model = hr.load("run/model")
    table = notes()
    whole = embed(model.signature.embeddings, table)
    expected = model.predict_proba(whole)[:, 1]
    names = [f"note_embedding_{k}" for k in range(WIDTH)]
    (tmp_path / "given").mkdir()
    pq.write_table(whole.select([*names, "size", "at"]), tmp_path / "given/a.parquet")
    for number, data in enumerate(["data", str(tmp_path / "given")]):
        out = tmp_path / f"scores-{number}"
        score("run/model", data, str(out), cluster=CLUSTER)
        scored = pa.concat_tables([pq.read_table(file) for file in sorted(out.glob("part-*.parquet"))])
        column = next(name for name in scored.column_names if name.endswith("True"))
        np.testing.assert_allclose(scored[column].to_numpy(), expected, atol=1e-5)
    with pytest.raises(InputError, match="note_embedding_0"):
        model.predict(table.slice(0, 5))
    (tmp_path / "short").mkdir()
    pq.write_table(table.select(["size", "at"]), tmp_path / "short/a.parquet")
    with pytest.raises(InputError, match="has no column note, of which inputs of the model are made"):
        score("run/model", str(tmp_path / "short"), str(tmp_path / "out"), cluster=CLUSTER)


def test_another_model_is_another_run(
    at_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = embeddings_key("model")

    def stop(*_: Any, **__: Any) -> None:
        raise HeadraceError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("headrace.runs.package", stop)
        with pytest.raises(HeadraceError, match="stopped"):
            workflow().run(cluster=CLUSTER, run_dir=str(tmp_path / "run"))
    write_model(at_place / "model", seed=2.0)
    try:
        assert embeddings_key("model") != key
        with pytest.raises(InputError, match="the language models are not those that the run began with"):
            hr.Workflow.resume(str(tmp_path / "run"), CLUSTER)
        embedding._loaded.cache_clear()  # a process goes on with the model that it has loaded
        with pytest.raises(InputError, match="is not the model with which the embeddings began"):
            score("run/model", "data", str(tmp_path / "scores"), cluster=CLUSTER)
    finally:
        write_model(at_place / "model")
    assert hr.Workflow.resume(str(tmp_path / "run"), CLUSTER).run["best"]


def embeddings_key(model: str) -> str:
    """Say under which name the prepared blocks of the first chunk are kept."""
    opened = open_data(workflow(embeddings=[{"column": "note", "model": model}]).options, 1 << 30)
    recipe = Recipe(compiled=cast("Any", None), features=(), digest="same")
    maker = BlockMaker((recipe,), Target("cold"), opened.splitter, 1.0, embeddings=opened.trained.embeddings)
    return maker.key(opened.trained.chunks[0])


def test_a_feature_function_and_a_history_see_the_rows(
    at_place: Path, threads: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_place / "longer.py").write_text(
        "def add(frame):\n    return frame.assign(twice=frame['note_embedding_1'] * 2)\n"
    )
    monkeypatch.syspath_prepend(str(at_place))
    monkeypatch.setattr(chunks, "LARGEST", 1 << 16)
    document = yaml.safe_load(workflow(history=[{"kind": "lags", "column": "size"}]).text)
    document["features"] = {"function": "longer:add"}
    opened = look_back(
        open_data(hr.Workflow.parse(yaml.safe_dump(document)).options, 1 << 30), Reader(threads)
    )
    assert {"twice", "size_lag_1", "note_embedding_5"} <= set(opened.features)
    made = pa.concat_tables(part.read() for part in opened.trained.parts)
    whole = embed(opened.trained.embeddings, notes())
    np.testing.assert_allclose(made["twice"].to_numpy(), 2 * whole["note_embedding_1"].to_numpy())
    assert made["size_lag_1"].to_pylist() == [None, *whole["size"].to_pylist()[:-1]]
