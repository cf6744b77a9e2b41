"""Credentials are in no file that a run makes, nor in what it prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import fsspec
import pytest
from tests.faults.test_lost_workers import make
from tests.servers import KEY, SECRET

from headrace.cli import run
from headrace.data.storage import join

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = (KEY, SECRET, "TOKEN-OF-TEST", "PASSWORD-OF-TEST")


@pytest.mark.parametrize("given", ["environment", "storage options"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore")
def test_no_credential_is_written_or_told(
    given: str,
    s3: str,
    in_tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(in_tmp)
    fsspec.filesystem("s3").put("data", f"{s3}/data", recursive=True)
    text = (in_tmp / "w.yaml").read_text().replace("url: data", f"url: {s3}/data")
    (in_tmp / "w.yaml").write_text(f"{text}publish: {{registry: '{s3}/registry'}}\n")
    (in_tmp / "two.yaml").write_text("workers: 2\nprocesses: false\nmemory: 512MiB\n")
    monkeypatch.setenv("HEADRACE_TEST_TOKEN", "TOKEN-OF-TEST")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "PASSWORD-OF-TEST")
    if given == "storage options":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setitem(fsspec.config.conf, "s3", {"key": KEY, "secret": SECRET})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert run(["run", "w.yaml", "--run", join(s3, "run"), "--cluster", "two.yaml", "--json"]) == 0
    assert run(["run", "w.yaml", "--run", join(s3, "run"), "--cluster", "two.yaml"]) == 2  # files are there
    assert run(["doctor", s3, "--json"]) == 0
    assert run(["models", "show", "toy", "--registry", join(s3, "registry")]) == 0
    told = capfd.readouterr()
    store = fsspec.filesystem("s3")
    written = {name: store.cat_file(name) for name in store.find(s3)}
    written |= {str(path): path.read_bytes() for path in in_tmp.rglob("*") if path.is_file()}
    assert {"run.json", "report.html", "card.md", "manifest.json"} <= {
        name.rsplit("/")[-1] for name in written
    }
    assert any("/ledger/" in name for name in written)
    pattern = re.compile("|".join(map(re.escape, SECRETS)).encode())
    assert not [name for name, content in written.items() if pattern.search(content)]
    for text in (told.out, told.err, caplog.text):
        assert not pattern.search(text.encode())
