"""`pii`: columns about persons are treated before anything sees them, in training, scoring and serving alike."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli import run
from headrace.cluster.config import ClusterFile
from headrace.data import audit
from headrace.data.dataset import Dataset
from headrace.data.pii import MASK, PiiOptions, Treatment, find_treatments, treat, treat_tensor
from headrace.errors import InputError, WorkflowError
from headrace.opening import open_data
from headrace.packaging.model import load
from headrace.packaging.package import read_package
from headrace.packaging.signature import InputColumn, Signature
from headrace.runs import Workflow
from headrace.scoring import score
from headrace.serving.bodies import JSON, read_body
from headrace.serving.feeds import feeds_of_rows, frame_of, treated
from headrace.serving.openapi import document
from headrace.serving.options import LimitOptions
from headrace.serving.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef"
COLUMNS = {
    "mail": "drop",
    "nick": "mask",
    "customer": {"kind": "hash", "key": "env:PII_KEY"},
    "zip": {"kind": "prefix", "characters": 2},
    "age": {"kind": "bin", "width": 10},
    "born": {"kind": "period", "to": "year"},
}
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", KEY)


def people(rows: int = 1200, *, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    customer = rng.integers(0, 40, rows)
    zips = [
        f"{code}{tail:03}" for code, tail in zip(rng.choice([10, 20, 80], rows), range(rows), strict=True)
    ]
    late = (age + 10 * (customer % 3) + rng.normal(0, 10, rows)) > 60
    return pa.table(
        {
            "mail": [f"p{i}@example.org" for i in range(rows)],
            "nick": pa.array([None if i % 7 == 0 else f"nick{i}" for i in range(rows)]),
            "customer": customer,
            "zip": zips,
            "age": pa.array(age, mask=rng.random(rows) < 0.1),
            "born": pa.array(
                np.datetime64("1940-01-01", "us") + rng.integers(0, 20000, rows) * np.timedelta64(1, "D")
            ),
            "city": [f"town{i}" if i % 50 == 0 else "Ulm" if i % 3 else "Bonn" for i in range(rows)],
            "late": late,
        }
    )


def write(place: Path, table: pa.Table) -> str:
    place.mkdir()
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(part, place / f"{number}.parquet", row_group_size=200)
    return str(place)


def treatments(columns: dict[str, Any] | None = None) -> tuple[Treatment, ...]:
    return find_treatments(PiiOptions.model_validate({"columns": columns or COLUMNS}))


def test_nothing_else_sees_what_is_treated(tmp_path: Path) -> None:
    table = people()
    plain = Dataset(write(tmp_path / "data", table))
    dataset = plain.treated(treatments())
    assert "mail" not in dataset.schema.names
    assert dataset.fingerprint != plain.fingerprint
    frame = dataset.to_dask().compute()
    assert list(frame.columns) == dataset.schema.names
    assert set(frame["nick"].dropna()) == {MASK}
    assert frame["nick"].isna().sum() == table["nick"].null_count
    expected = [
        hmac.new(KEY.encode(), str(value).encode(), hashlib.sha256).hexdigest()[:32]
        for value in table["customer"].to_pylist()
    ]
    assert frame["customer"].tolist() == expected
    assert set(frame["zip"]) == {"10", "20", "80"}
    known = np.asarray(table["age"].drop_null())
    np.testing.assert_array_equal(frame["age"].dropna().to_numpy(dtype=float), known // 10 * 10)
    assert frame["age"].isna().sum() == table["age"].null_count
    assert all(value.month == value.day == 1 for value in frame["born"])
    assert dataset.columns["age"].minimum is None
    assert list(dataset.head().dtypes) == list(frame.dtypes)


def test_a_filter_sees_columns_as_they_are(tmp_path: Path) -> None:
    table = people()
    url = write(tmp_path / "data", table)
    dataset = Dataset(url, where="mail == 'p3@example.org' or age == 33").treated(treatments())
    ages = table["age"].to_pylist()
    assert len(dataset.to_dask(["age"]).compute()) == sum(age == 33 or i == 3 for i, age in enumerate(ages))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"nobody": "drop"}, "no column 'nobody'"),
        ({"age": "mask"}, "pii.columns.age: the column 'age' is int64"),
        ({"mail": {"kind": "bin", "width": 2}}, "bins are of numbers"),
        ({"mail": {"kind": "period", "to": "year"}}, "periods are of dates"),
        ({"born": {"kind": "hash", "key": "env:PII_KEY"}}, "text and whole numbers are hashed"),
    ],
)
def test_what_does_not_fit_is_refused(columns: dict[str, Any], said: str, tmp_path: Path) -> None:
    dataset = Dataset(write(tmp_path / "data", people(50)))
    with pytest.raises(WorkflowError, match=said):
        dataset.treated(treatments(columns))


def test_keys_are_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "key"
    place.write_text(KEY + "\n")
    way = {"customer": {"kind": "hash", "key": str(place)}}
    assert treatments(way)[0].key_digest == treatments({"customer": COLUMNS["customer"]})[0].key_digest
    monkeypatch.setenv("PII_KEY", "short")
    with pytest.raises(InputError, match="has 5 bytes"):
        treatments()
    with pytest.raises(InputError, match="cannot be read"):
        treatments({"customer": {"kind": "hash", "key": str(tmp_path / "none")}})


texts = st.lists(st.none() | st.text(max_size=6), max_size=8)


@given(texts, st.integers(1, 4))
def test_tensors_are_treated_as_tables_are(values: list[str | None], characters: int) -> None:
    for way in ({"kind": "prefix", "characters": characters}, "mask", {"kind": "hash", "key": "env:PII_KEY"}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PII_KEY", KEY)
            (one,) = treatments({"x": way})
            table = treat(pa.table({"x": pa.array(values, pa.string())}), (one,))
            coded = treat(
                pa.table({"x": pa.array(values, pa.string()).dictionary_encode()}), (one,), dictionary=True
            )
            tensor = treat_tensor(
                np.array([value or "" if value is not None else "gone\0" for value in values], object),
                one,
                "gone\0",
            )
        assert coded["x"].to_pylist() == table["x"].to_pylist()
        assert [None if value == "gone\0" else value for value in tensor.tolist()] == table["x"].to_pylist()


@given(st.lists(st.datetimes(dt.datetime(1902, 1, 1), dt.datetime(2100, 1, 1)), min_size=1, max_size=8))  # noqa: DTZ001 columns without a zone
def test_times_are_cut_in_utc(values: list[dt.datetime]) -> None:
    for to in ("month", "year"):
        (one,) = treatments({"x": {"kind": "period", "to": to}})
        for kind in (pa.timestamp("us"), pa.timestamp("us", "Asia/Tokyo")):
            cut = treat(pa.table({"x": pa.array(values, pa.timestamp("us")).cast(kind)}), (one,))["x"]
            assert cut.type == kind
            made = cut.cast(pa.int64()).to_numpy()
            held = pa.array(values, pa.timestamp("us")).cast(pa.int64()).to_numpy()
            np.testing.assert_array_equal(treat_tensor(held, one, np.iinfo(np.int64).min), made)
            expected = [
                value.replace(
                    day=1,
                    month=value.month if to == "month" else 1,
                    hour=0,
                    minute=0,
                    second=0,
                    microsecond=0,
                )
                for value in values
            ]
            assert pa.array(made, pa.timestamp("us")).to_pylist() == expected


def workflow(tmp_path: Path, url: str, **more: Any) -> Workflow:
    document = {
        "problem": {"name": "late", "objective": "who is late", "task": "classification", "target": "late"},
        "data": {"url": url},
        "pii": {"columns": COLUMNS, "k_minimum": 30},
        "models": [
            {
                "name": "linear",
                "estimator": "sklearn.linear_model.SGDClassifier",
                "params": {"loss": "log_loss"},
            }
        ],
        "checks": {"on_fail": "warn"},
        "train": {"epochs": 1},
        "publish": {"registry": str(tmp_path / "registry")},
        **more,
    }
    return Workflow.parse(yaml.safe_dump(document))


def test_a_run_scores_and_serves_as_it_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(audit.PLACE, str(tmp_path / "audit"))
    table = people()
    url = write(tmp_path / "data", table)
    result = workflow(tmp_path, url).run(THREADS, str(tmp_path / "run"))
    raw = {str(value) for name in ("mail", "nick") for value in table[name].to_pylist() if value}
    raw |= {f"town{i}" for i in range(0, 1200, 50)}
    raw |= set(table["zip"].to_pylist())
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and path.suffix in {".json", ".html", ".md", ".yaml"}:
            text = path.read_text()
            told = {value for value in raw if f'"{value}"' in text or f">{value}<" in text}
            assert not told, path
    package = read_package(f"{result.directory}/model")
    signature = package.manifest.signature
    assert KEY not in json.dumps(package.manifest.to_dict())
    assert "mail" not in {column.name for column in signature.inputs}
    city = next(column for column in signature.inputs if column.name == "city")
    assert set(city.categories or ()) == {"Ulm", "Bonn"}
    rows = table.slice(0, 60).to_pylist()
    model = load(f"{result.directory}/model")
    expected = model.predict_proba(table.slice(0, 60))
    as_json = [{**row, "born": row["born"].isoformat()} for row in rows]
    feeds = treated(feeds_of_rows(as_json, signature.inputs), signature)
    said = Predictor(package).answer(feeds).outputs
    np.testing.assert_allclose(said, expected, atol=1e-6)
    score(f"{result.directory}/model", url, str(tmp_path / "scores"), cluster=THREADS)
    parts = sorted((tmp_path / "scores").glob("part-*.parquet"))
    (noted,) = [each for each in audit.read_records(str(tmp_path / "audit")) if each["action"] == "scored"]
    assert noted["detail"]["scored"] == table.num_rows
    scored = pa.concat_tables([pq.read_table(part) for part in parts])
    np.testing.assert_allclose(scored["probability_True"].to_numpy()[:60], expected[:, 1], atol=1e-6)
    monkeypatch.setenv("PII_KEY", KEY[::-1])
    with pytest.raises(InputError, match="is not the one with which columns were hashed"):
        score(f"{result.directory}/model", url, str(tmp_path / "again"), cluster=THREADS)


def test_the_command_line_says_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = workflow(tmp_path, write(tmp_path / "data", people(100)), pii={"columns": {"mial": "drop"}})
    (tmp_path / "flow.yaml").write_text(flow.text)
    assert run(["plan", str(tmp_path / "flow.yaml")]) == 2
    assert "pii.columns.mial" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "key", "more"),
    [
        ("late", "problem.target", {}),
        ("born", "data.time", {"data": {"time": "born"}}),
        ("age", "data.weight", {"data": {"weight": "age"}}),
        ("city", "data.split.key", {"data": {"split": {"kind": "group", "key": "city"}}}),
        ("city", "validation.key", {"validation": {"kind": "group", "key": "city"}}),
    ],
)
def test_what_a_key_names_cannot_be_dropped(
    column: str, key: str, more: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = write(tmp_path / "data", people(100))
    more = {**more, "data": {"url": url, **more.get("data", {})}}
    flow = workflow(tmp_path, url, pii={"columns": {column: "drop"}}, **more)
    (tmp_path / "flow.yaml").write_text(flow.text)
    assert run(["plan", str(tmp_path / "flow.yaml")]) == 2
    told = capsys.readouterr().err
    assert (
        f"{key}: {column!r} is needed here, and cannot be dropped by pii; remove pii.columns.{column}, or"
        in told
    )


def test_a_feature_function_may_make_anew_what_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anew.py").write_text("def late(frame):\n    return frame.assign(late=frame['age'] > 60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    url = write(tmp_path / "data", people(100))
    flow = workflow(tmp_path, url, pii={"columns": {"late": "drop"}}, features={"function": "anew:late"})
    assert "late" in open_data(flow.options, 1 << 30).profiled.schema.names


def test_who_asks_is_told_of_raw_values() -> None:
    way = {name: COLUMNS[name] for name in ("zip", "age")}
    signature = Signature(
        (
            InputColumn("zip", "string", "string", categories=("10", "20")),
            InputColumn("age", "double", "numeric", minimum=10.0, maximum=80.0),
            InputColumn("city", "string", "string", categories=("Ulm",)),
        ),
        "regression",
        pii=treatments(way),
    )
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature
    told = document(signature, "late@1", LimitOptions(), keys=False)["components"]["schemas"]["Row"][
        "properties"
    ]
    assert "x-categories" not in told["zip"]
    assert "x-range" not in told["age"]
    assert "cut to bins of 10 before the model sees it" in told["age"]["description"]
    assert told["city"]["x-categories"] == ["Ulm"]
    body = read_body(b'{"rows": [{"zip": "10999", "age": 37, "city": "Ulm"}, {"city": null}]}', JSON, 9)
    feeds = body.feeds(signature)
    assert feeds["zip"][0, 0] == "10"
    np.testing.assert_array_equal(feeds["age"][:, 0], [30, np.nan])
    assert frame_of(feeds, signature.inputs)["zip"].isna().tolist() == [False, True]
