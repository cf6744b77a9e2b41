"""A whole life of two models whose data tell about persons: no value comes out in the clear, and every deed is in the log."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv
from tests.sentences import write_model
from tests.serving.conftest import Running

from headrace.cli import run
from headrace.data import audit
from headrace.data.storage import list_names
from headrace.packaging.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ROWS, MARK = 900, "ZQSENT"
KEY = "c4a7f1b29e6d8035c4a7f1b29e6d8035"
PII = {
    "mail": "drop",
    "nick": "mask",
    "customer": {"kind": "hash", "key": "env:GOVERNED_KEY"},
    "zip": {"kind": "prefix", "characters": 2},
    "note": {"kind": "prefix", "characters": 3},
    "salary": {"kind": "bin", "width": 10_000},
    "born": {"kind": "period", "to": "year"},
}
SALARIES = [41_337.25 + 10_000 * k for k in range(5)]
BORN = [dt.datetime(1950 + 3 * k, 7, 19, 13, 57, tzinfo=dt.UTC) for k in range(12)]
FEATURES = """
def add(frame):
    frame["area"] = frame["zip"] + "x"
    frame["initial"] = frame["customer"].str.slice(0, 1)
    return frame
"""


def people() -> pa.Table:
    """Each value of a column about persons is in enough rows to be told, were it not treated."""
    rng = np.random.default_rng(1)
    place = rng.integers(0, 20, ROWS)
    amount = rng.normal(50, 10, ROWS)
    at = np.datetime64("2026-01-01T00:00:00", "s") + np.arange(ROWS) * np.timedelta64(1, "h")
    return pa.table(
        {
            "at": at,
            "mail": [f"{MARK}m{i % 30}@example.org" for i in range(ROWS)],
            "nick": [None if i % 9 == 0 else f"{MARK}n{i % 30}" for i in range(ROWS)],
            "customer": [f"{MARK}c{i}" for i in place],
            "zip": [f"{10 * (1 + i % 3)}{MARK}z{i % 20}" for i in range(ROWS)],
            "note": [("fog", "ice", "sun")[i % 3] + f" {MARK}t{i % 20}" for i in range(ROWS)],
            "salary": rng.choice(SALARIES, ROWS),
            "born": pa.array([BORN[i] for i in rng.integers(0, len(BORN), ROWS)], pa.timestamp("s")),
            "city": rng.choice(["Ulm", "Bonn", "Kiel"], ROWS),
            "amount": pa.array(amount, mask=np.arange(ROWS) % 61 == 0),
            "late": amount + 2 * place + rng.normal(0, 8, ROWS) > 70,
        }
    )


@dataclass
class Lived:
    """What the commands of two models left behind."""

    place: Path
    said: dict[str, str]
    """What was written to the terminal, by command, and what the server answered, by path."""


def headrace(lived: Lived, *arguments: str) -> None:
    """Run a command, and keep what it writes."""
    written = io.StringIO()
    with redirect_stdout(written), redirect_stderr(written):
        code = run(list(arguments))
    assert code == 0, (arguments, written.getvalue()[-3000:])
    lived.said[" ".join(arguments)] = written.getvalue()


def workflow(name: str, **more: Any) -> str:
    document: dict[str, Any] = {
        "problem": {"name": name, "objective": "who is late", "task": "classification", "target": "late"},
        "data": {"url": "data/people"},
        "pii": {"columns": PII},
        "models": [{"name": "linear", "estimator": "sklearn.linear_model.LogisticRegression"}],
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 20},
        "publish": {"registry": "registry"},
    }
    for key, value in more.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    place = tmp_path_factory.mktemp("governed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GOVERNED_KEY", KEY)
        patch.syspath_prepend(str(place))
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.setenv(audit.PLACE, "audit")
        patch.setenv(audit.USER, "clerk-7")
        patch.setenv(audit.HOST, "1")
        yield live(Lived(place, {}))


def live(lived: Lived) -> Lived:
    """Bring data in, train twice, export, score, serve, watch, move aliases, retain and erase."""
    place, table = lived.place, people()
    csv.write_csv(table, place / "people.csv")
    write_model(place / "model")
    (place / "governed.py").write_text(FEATURES)
    made = {
        "ingest": {"to": "data/people", "source": {"kind": "files", "url": "people.csv"}},
        "cluster": {"kind": "laptop", "workers": 2, "processes": False, "memory": "1GiB"},
        "policy": {"registry": {"url": "registry", "keep": 1}},
    }
    for name, document in made.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(document))
    (place / "plain.yaml").write_text(
        workflow("plain", data={"remembered": "kept"}, validation={"kind": "kfold", "folds": 2})
    )
    (place / "made.yaml").write_text(
        workflow(
            "made",
            data={
                "time": "at",
                "embeddings": [{"column": "note", "model": "model"}],
                "history": [{"kind": "lags", "column": "salary", "by": ["customer"], "rows": [1]}],
            },
            features={"function": "governed:add"},
            prepare={
                "columns": {"customer": {"encode": "target"}, "zip": {"encode": "hashing"}},
                "interact": [{"columns": ["amount", "salary"], "degree": 2}],
            },
            train={"epochs": 2},
        )
    )
    here = ["--cluster", "cluster.yaml"]
    headrace(lived, "ingest", "ingest.yaml")
    seen = ["--workflow", "plain.yaml"]
    headrace(lived, "profile", "data/people", *seen, "--html", "profile.html", "--json", *here)
    headrace(lived, "check", *seen, *here)
    headrace(lived, "plan", "plain.yaml")
    headrace(lived, "run", "plain.yaml", *here)
    Registry("registry").publish("plain", Registry("registry").resolve("plain@1"))  # as a second run would
    headrace(lived, "run", "made.yaml", *here)
    headrace(lived, "models", "export", "plain", "exported", "--format", "onnx")
    headrace(lived, "models", "export", "plain", "exported", "--format", "skops")
    headrace(lived, "models", "export", "plain", "deployed", "--kubernetes")
    headrace(lived, "models", "show", "plain")
    headrace(lived, "score", "plain", "data/people", "scores", *here)
    headrace(lived, "score", "made", "data/people", "made-scores", *here, "--features", "governed:add")
    serve(lived, table)
    headrace(lived, "monitor", "report", "plain", "--store", "monitor", "--html", "monitor.html")
    headrace(lived, "models", "promote", "plain@2", "--force", "--why", "newer")
    headrace(lived, "models", "rollback", "plain")
    headrace(lived, "models", "promote", "plain@2", "--force", "--alias", "challenger")
    headrace(lived, "models", "promote", "plain@2", "--force")
    headrace(lived, "retain", "policy.yaml", "--yes")
    (place / "who.txt").write_text(f"{MARK}c3\n")
    erasing = ["--column", "customer", "--keys", "who.txt", "--yes", "--registry", "registry"]
    headrace(lived, "erase", "data/people", *erasing)
    return lived


def serve(lived: Lived, table: pa.Table) -> None:
    running = Running("plain", "--monitor", "monitor", "--log-values")
    try:
        told = table.drop(["late"]).to_pylist()
        rows = [row | {name: row[name].isoformat() for name in ("at", "born")} for row in told]
        answer = running.ask(*rows[:60])
        assert answer.status_code == 200, answer.text
        wrong = running.ask({**rows[0], "salary": f"{MARK}w"})
        assert wrong.status_code == 422
        unknown = running.ask({**rows[0], "city": "Oslo", "zip": f"99{MARK}u"})
        lived.said["unknown"] = unknown.text
        for path in ("/", "/metrics", "/openapi.json", "/v1/model"):
            lived.said[path] = running.client.get(path).text
    finally:
        running.stop()
    lived.said["server"] = "\n".join(running.lines)


def unfolded(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Give content, and what is folded into it: archives, Parquet, zlib, gzip and base64."""
    yield name, content
    if depth > 4:
        return
    inner: list[tuple[str, bytes]] = []
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner += [(member, archive.read(member)) for member in archive.namelist()]
    if content[:4] == b"PAR1":
        rows = pq.read_table(pa.BufferReader(content))
        inner.append(("rows", repr(rows.to_pydict()).encode()))
        inner += [
            (field.name, np.asarray(rows[field.name].drop_null()).tobytes())
            for field in rows.schema
            if pa.types.is_floating(field.type)
        ]
    with suppress(OSError, EOFError, zlib.error):
        inner.append(("gzip", gzip.decompress(content)))
    for part in (content, content.partition(b"\n")[2]):
        with suppress(zlib.error):
            inner.append(("zlib", zlib.decompress(part)))
    for token in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", content):
        with suppress(ValueError):
            inner.append(("base64", base64.b64decode(token, validate=True)))
    for member, found in inner:
        yield from unfolded(f"{name} > {member}", found, depth + 1)


def traces() -> list[bytes]:
    """Ways in which a value about a person may be written."""
    found = [MARK.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le")]
    found += [KEY.encode(), base64.b64encode(MARK.encode())]
    found += [str(value).encode() for value in SALARIES]
    found += [struct.pack("<d", value) for value in SALARIES]
    found += [f"{value:%m-%d}".encode() + b"T13:57" for value in BORN[:1]] + [b"07-19 13:57", b", 7, 19, 13"]
    return found + [str(int(value.timestamp())).encode() for value in BORN[4:]]


def test_the_search_finds_what_is_hidden(lived: Lived) -> None:
    hidden = base64.b64encode(zlib.compress(json.dumps({"a": f"{MARK}c1"}).encode()))
    assert any(MARK.encode() in content for _, content in unfolded("x", b'{"state": "' + hidden + b'"}'))
    found = [
        content for _, content in unfolded("x", next(lived.place.glob("data/**/*.parquet")).read_bytes())
    ]
    for trace in (MARK.encode(), str(SALARIES[0]).encode(), struct.pack("<d", SALARIES[0])):
        assert any(trace in content for content in found), trace


def test_no_value_about_a_person_comes_out_in_the_clear(lived: Lived) -> None:
    given = {"people.csv", "who.txt", "governed.py"}
    patterns, told = traces(), []
    files = [
        path
        for path in lived.place.rglob("*")
        if path.is_file() and path.name not in given and "data" not in path.relative_to(lived.place).parts
    ]
    contents = {str(path.relative_to(lived.place)): path.read_bytes() for path in files}
    assert {"exported", "deployed", "scores", "monitor", "registry", "kept", "audit", "runs"} <= {
        name.partition("/")[0] for name in contents
    }
    contents |= {f"said by {name}": text.encode() for name, text in lived.said.items()}
    for name, content in contents.items():
        for where, piece in unfolded(name, content):
            told += [(where, trace) for trace in patterns if trace in piece]
    assert not told


def test_every_deed_is_in_the_log_with_who_and_when(lived: Lived) -> None:
    records = list(audit.read_records(str(lived.place / "audit")))
    deeds = [(each["action"], each["subject"]) for each in records]
    for wanted in [
        ("published", "plain@1"), ("moved", "plain@1"), ("trained", "plain@1"), ("published", "plain@2"),
        ("trained", "made@1"), ("exported", "plain@1"), ("scored", "plain@1"), ("scored", "made@1"),
        ("served", "plain@1"), ("promoted", "plain@2"), ("rolled back", "plain@1"), ("pruned", "plain@1"),
        ("retained", "policy"), ("erased", "data/people"),
    ]:  # fmt: skip
        assert wanted in deeds, wanted
    assert sum(action == "exported" for action, _ in deeds) == 3
    assert all(each["who"]["user"] == "clerk-7" and each["who"]["host"] for each in records)
    times = [dt.datetime.fromisoformat(each["at"]) for each in records]
    assert times == sorted(times)
    assert audit.verify(str(lived.place / "audit"))[::2] == (len(records), None)
    assert len(list_names(str(lived.place / "audit"))) == len(records)
