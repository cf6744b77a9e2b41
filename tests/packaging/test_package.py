from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.errors import PackageError, StorageError
from headrace.packaging.fingerprint import model_digest
from headrace.packaging.package import Manifest, read_package

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_HEADRACE = textwrap.dedent("""
    import sys
    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "headrace":
                raise ImportError("headrace is not here")
    sys.meta_path.insert(0, Blocker())
""")


def rehash(package: Path, name: str, content: bytes) -> None:
    (package / name).write_bytes(content)
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (package / "manifest.json").write_text(json.dumps(manifest))


def test_round_trip_for_every_kind(kind, fitted, frame, tmp_path, write_model):
    manifest = write_model(tmp_path / "model", fitted(kind))
    read = read_package(tmp_path / "model")
    assert read.manifest == manifest
    assert model_digest(read.model()) == manifest.model_sha256 == model_digest(fitted(kind))
    np.testing.assert_array_equal(read.model().predict(frame), fitted(kind).predict(frame))


def test_a_package_holds_its_files_and_their_hashes(package):
    assert sorted(file.name for file in package.iterdir()) == [
        "card.md",
        "manifest.json",
        "pipeline.skops",
        "profile.json",
    ]
    document = json.loads((package / "manifest.json").read_text())
    for name, held in document["files"].items():
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == held["sha256"]
    assert set(document["files"]) == {"card.md", "pipeline.skops", "profile.json"}
    assert document["metric"] == {"name": "roc_auc", "value": 0.731}
    assert document["signature"]["target"] == "late"
    assert read_package(str(package)).profile == {"rows": 120, "columns": {}}


def test_manifest_round_trip(package):
    document = json.loads((package / "manifest.json").read_text())
    assert Manifest.from_dict(document).to_dict() == document


def test_the_same_model_makes_the_same_model_file(fresh, tmp_path, write_model):
    one = write_model(tmp_path / "1", fresh("sgd-classifier"))
    two = write_model(tmp_path / "2", fresh("sgd-classifier"))
    assert one.model_sha256 == two.model_sha256
    assert one.files["pipeline.skops"] == two.files["pipeline.skops"]


@pytest.mark.parametrize("name", ["card.md", "pipeline.skops", "profile.json"])
def test_a_changed_file_is_named(package, name):
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(bytes(content))
    with pytest.raises(PackageError, match=f"{re.escape(name)} was changed"):
        read_package(package)


@pytest.mark.parametrize("name", ["card.md", "pipeline.skops", "profile.json"])
def test_a_missing_file_is_named(package, name):
    (package / name).unlink()
    with pytest.raises(PackageError, match=f"{re.escape(name)} is in the manifest and missing"):
        read_package(package)


def test_an_additional_file_is_named(package):
    (package / "extra.pkl").write_bytes(b"x")
    with pytest.raises(PackageError, match=r"extra\.pkl is not in the manifest"):
        read_package(package)


def test_an_additional_folder_is_named(package):
    (package / "more").mkdir()
    with pytest.raises(PackageError, match="more cannot be read"):
        read_package(package)


def test_a_file_left_out_of_the_manifest_is_refused(package):
    manifest = json.loads((package / "manifest.json").read_text())
    del manifest["files"]["profile.json"]
    (package / "profile.json").unlink()
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match=r"profile\.json is missing in the manifest"):
        read_package(package)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"null",
        b'{"format": 1}',
        b'{"format": 1, "files": {"a": 1}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_manifest_is_a_package_error(package, content):
    (package / "manifest.json").write_bytes(content)
    with pytest.raises(PackageError, match="manifest"):
        read_package(package)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/b", ".hidden", "manifest.json", ""])
def test_a_manifest_cannot_name_files_elsewhere(package, name):
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="cannot be in a package"):
        read_package(package)


def test_a_later_format_says_so(package):
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["format"] = 2
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="upgrade"):
        read_package(package)


def test_a_folder_that_is_no_package_says_so(tmp_path):
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(PackageError, match="not a model package"):
            read_package(place)


def test_an_existing_package_is_never_overwritten(package, fitted, write_model):
    before = (package / "manifest.json").read_bytes()
    with pytest.raises(StorageError):
        write_model(package, fitted("naive-bayes"))
    assert (package / "manifest.json").read_bytes() == before


def test_nothing_is_left_when_a_package_cannot_be_written(tmp_path, fitted, write_model):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_model(tmp_path / "model", fitted("naive-bayes"), profile={"mean": float("nan")})
    assert not list(tmp_path.iterdir())


def test_works_on_another_file_system(fitted, write_model):
    url = "memory://package-test/model"
    written = write_model(url, fitted("naive-bayes"))
    assert read_package(url).manifest == written


def test_a_hostile_pickle_with_a_matching_hash_never_runs(package, tmp_path):
    target = tmp_path / "ran"
    rehash(package, "pipeline.skops", b"cos\nmkdir\n(V" + str(target).encode() + b"\ntR.")
    with pytest.raises(PackageError, match="not a skops file"):
        read_package(package).model()
    assert not target.exists()


def test_packages_load_with_skops_and_scikit_learn_alone(fitted, frame, tmp_path, write_model, kinds):
    for kind in kinds:
        write_model(tmp_path / kind, fitted(kind))
    frame.to_json(tmp_path / "frame.json", orient="records", double_precision=15)
    code = WITHOUT_HEADRACE + textwrap.dedent("""
        import json, numpy as np, pandas as pd, skops.io
        frame = pd.DataFrame(json.load(open("frame.json")))
        frame["carrier"] = frame["carrier"].astype(object).where(frame["carrier"].notna(), np.nan)
        predicted = {}
        for kind in sys.argv[1:]:
            trusted = skops.io.get_untrusted_types(file=kind + "/pipeline.skops")
            assert not [name for name in trusted if name.startswith("headrace")]
            pipeline = skops.io.load(kind + "/pipeline.skops", trusted=trusted)
            predicted[kind] = pipeline.predict(frame).tolist()
        assert "headrace" not in sys.modules
        print(json.dumps(predicted))
    """)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *kinds], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for kind, predicted in json.loads(done.stdout).items():
        # the rows went through text, which keeps 15 digits after the point
        np.testing.assert_allclose(predicted, fitted(kind).predict(frame), rtol=1e-9)
