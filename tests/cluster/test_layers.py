from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from headrace.cluster.config import cluster_schema, load_cluster
from headrace.cluster.layers import read_layers
from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_file_says_more_than_the_one_it_extends(in_tmp: Path):
    (in_tmp / "sub").mkdir()
    write(in_tmp, base="kind: laptop\nworkers: 3\nmemory: 256MiB\ndisk: 0\n")
    write(in_tmp / "sub", mine="extends: ../base.yaml\nworkers: 2\n")
    cluster = load_cluster("sub/mine.yaml")
    assert (cluster.worker_count, cluster.memory_bytes, cluster.disk) == (2, 256 << 20, 0)
    assert "extends" not in read_layers("sub/mine.yaml").to_yaml()


def test_a_circle_is_told(in_tmp: Path):
    write(in_tmp, a="extends: b.yaml\n", b="extends: a.yaml\n")
    with pytest.raises(WorkflowError, match=r"extends a\.yaml again"):
        load_cluster("a.yaml")


def test_variables_stand_in_their_place_and_defaults_where_there_is_none(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    write(in_tmp, a="workers: ${HR_WORKERS}\nlocal_directory: /tmp/${HR_NONE:-scratch}\n")
    with pytest.raises(WorkflowError, match="the variable HR_WORKERS is not set"):
        load_cluster("a.yaml")
    monkeypatch.setenv("HR_WORKERS", "2")
    cluster = load_cluster("a.yaml")
    assert cluster.worker_count == 2
    assert cluster.local_directory == "/tmp/scratch"


def test_what_a_variable_holds_is_never_told(in_tmp: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HR_SECRET", "swordfish")
    write(in_tmp, a="workers: 2\nthreads: ${HR_SECRET}\n")
    with pytest.raises(WorkflowError, match=r"a\.yaml line 2: threads") as caught:
        load_cluster("a.yaml")
    assert "swordfish" not in str(caught.value)
    assert "${HR_SECRET}" in str(caught.value)


@pytest.mark.parametrize("name", ["laptop", "workstation", "ssh", "slurm", "kubernetes", "address"])
def test_the_files_for_users_are_valid_and_fit_the_schema(name: str, monkeypatch: pytest.MonkeyPatch):
    path = f"cluster/{name}.yaml"
    assert load_cluster(path).memory_bytes
    jsonschema.Draft202012Validator(cluster_schema()).validate(yaml.safe_load(read_layers(path).text))
