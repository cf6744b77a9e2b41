from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from headrace.errors import InputError
from headrace.serving.keys import VARIABLE, new_key, read_keys

if TYPE_CHECKING:
    from pathlib import Path


def test_a_made_key_is_found_by_its_hash_alone(tmp_path: Path):
    path = tmp_path / "keys"
    first = new_key(str(path), "planning", ["predict", "feedback"])
    second = new_key(str(path), "operator", ["admin"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first not in path.read_text()
    keys = read_keys(str(path))
    assert keys is not None
    found = keys.find(first)
    assert found is not None
    assert (found.name, found.may("predict"), found.may("feedback"), found.may("admin")) == (
        "planning", True, True, False,
    )  # fmt: skip
    operator = keys.find(second)
    assert operator is not None
    assert operator.may("predict")
    assert keys.find(first + "a") is None
    assert keys.find("") is None
    assert keys.find("\ud800") is None


def test_a_last_line_without_an_end_stays_a_line(tmp_path: Path):
    path = tmp_path / "keys"
    first = new_key(str(path), "planning", ["predict"])
    path.write_text(path.read_text().strip())
    second = new_key(str(path), "operator", ["admin"])
    keys = read_keys(str(path))
    assert keys is not None
    assert len(path.read_text().splitlines()) == len(keys) == 2
    assert keys.find(first) is not None
    assert keys.find(second) is not None


def test_the_environment_holds_keys_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = new_key(str(tmp_path / "keys"), "a", ["predict"])
    monkeypatch.setenv(VARIABLE, (tmp_path / "keys").read_text().strip() + ";")
    keys = read_keys(None)
    assert keys is not None
    assert keys.find(key) is not None
    monkeypatch.delenv(VARIABLE)
    assert read_keys(None) is None


@pytest.mark.parametrize(
    "text", ["", "# none", "a predict secret-key", f"a root {'0' * 64}", f"a {'0' * 64}"]
)
def test_a_line_that_is_no_key_is_told_without_its_content(tmp_path: Path, text: str):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InputError) as caught:
        read_keys(str(tmp_path / "keys"))
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize(("name", "scopes"), [("a b", ["predict"]), ("a", ["root"]), ("a", [])])
def test_a_key_with_an_unfit_name_or_scope_is_not_made(tmp_path: Path, name: str, scopes: list[str]):
    with pytest.raises(InputError):
        new_key(str(tmp_path / "keys"), name, scopes)
    assert not (tmp_path / "keys").exists()
