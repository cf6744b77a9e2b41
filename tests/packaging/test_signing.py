from __future__ import annotations

import json
import stat
import subprocess
from shutil import copytree, which
from typing import TYPE_CHECKING

import pytest

from headrace.cli import run
from headrace.errors import InputError, PackageError
from headrace.packaging.model import load
from headrace.packaging.package import MANIFEST, read_package, sha256
from headrace.packaging.registry import Registry
from headrace.packaging.signing import VARIABLE, new_key_pair, require_signature, sign

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("cryptography", reason="needs the extra sign")


@pytest.fixture
def key(tmp_path: Path) -> str:
    new_key_pair(str(tmp_path / "key.pem"))
    return str(tmp_path / "key.pem")


@pytest.fixture
def registry(tmp_path: Path, package: Path) -> Registry:
    """`late`: version 1."""
    registry = Registry(tmp_path / "registry")
    registry.publish("late", package)
    return registry


def test_a_signed_version_is_loaded_by_who_trusts_the_key_alone(registry, key, tmp_path, monkeypatch):
    package = read_package(registry.resolve("late"))
    assert not require_signature(package)
    with pytest.raises(PackageError, match="is not signed, and unsigned models are refused here"):
        require_signature(package, f"{key}.pub")
    assert sign(package, key) == f"{package.url}/manifest.sig"
    signed = read_package(package.url)
    assert signed.manifest == package.manifest
    assert require_signature(signed, f"{key}.pub")
    new_key_pair(str(tmp_path / "other.pem"))
    with pytest.raises(PackageError, match="signed by none of the keys"):
        require_signature(signed, f"{tmp_path}/other.pem.pub")
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "other.pem.pub").read_bytes() + (tmp_path / "key.pem.pub").read_bytes())
    monkeypatch.setenv(VARIABLE, str(both))
    assert load("late", registry.url).url == package.url
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/other.pem.pub")
    with pytest.raises(PackageError, match="signed by none of the keys"):
        load("late", registry.url)


def test_a_version_is_trusted_as_what_it_was_signed_as(registry, key, package, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{key}.pub")
    place = tmp_path / "registry"
    sign(read_package(registry.resolve("late@1")), key)
    assert load("late@1", registry.url).url == registry.resolve("late@1")
    copytree(place / "late/1", place / "late/2")
    copytree(place / "late/1", place / "other/1")
    for reference in ("late@2", "other@1"):
        with pytest.raises(PackageError, match=f"is signed as late@1, and lies here as {reference}"):
            load(reference, registry.url)
    # To change what it was signed as breaks the signature, and to leave it out as well.
    note = json.loads((place / "late/2/version.json").read_text())
    (place / "late/2/version.json").write_text(json.dumps({**note, "version": 2}))
    (place / "other/1/version.json").unlink()
    for reference in ("late@2", "other@1"):
        with pytest.raises(PackageError, match="signed by none of the keys"):
            load(reference, registry.url)
    # As a folder it is what was signed, wherever it lies.
    copytree(place / "late/1", tmp_path / "here")
    assert load(tmp_path / "here").url == str(tmp_path / "here")


def test_a_package_that_was_signed_is_published_unsigned(registry, key, package, tmp_path):
    sign(read_package(package), key)
    registry.publish("late", package)
    published = read_package(registry.resolve("late@2"))
    with pytest.raises(PackageError, match="is not signed"):
        require_signature(published, f"{key}.pub")
    copytree(package, tmp_path / "registry/late/3")
    with pytest.raises(
        PackageError, match="is signed as a package outside of a registry, and lies here as late@3"
    ):
        require_signature(read_package(registry.resolve("late@3")), f"{key}.pub", version="late@3")
    sign(published, key)
    assert require_signature(read_package(published.url), f"{key}.pub", version="late@2")


def test_whoever_can_write_the_registry_cannot_change_what_was_signed(registry, key, tmp_path):
    """Every hash is made to fit, as only a signature can tell."""
    url = registry.resolve("late")
    sign(read_package(url), key)
    place = tmp_path / "registry/late/1"
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "card.md").write_text("A model to be trusted.")
    manifest["files"]["card.md"] = {"sha256": sha256(b"A model to be trusted."), "bytes": 22}
    (place / "manifest.json").write_text(json.dumps(manifest))
    note = json.loads((place / "version.json").read_text())
    note["manifest_sha256"] = sha256((place / MANIFEST).read_bytes())
    (place / "version.json").write_text(json.dumps(note))
    changed = read_package(url)
    assert changed.card == "A model to be trusted."
    with pytest.raises(PackageError, match="signed by none of the keys"):
        require_signature(changed, f"{key}.pub")


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"a" * 63, b"-----BEGIN"])
def test_what_is_no_signature_is_refused(package, key, content):
    (package / "manifest.sig").write_bytes(content)
    with pytest.raises(PackageError, match="signed by none of the keys"):
        require_signature(read_package(package), f"{key}.pub")


def test_the_manifest_cannot_name_its_signature(package):
    manifest = json.loads((package / MANIFEST).read_text())
    manifest["files"]["manifest.sig"] = {"sha256": "0" * 64, "bytes": 64}
    (package / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="cannot be in a package"):
        read_package(package)


def test_a_version_is_signed_once(package, key):
    sign(read_package(package), key)
    before = (package / "manifest.sig").read_bytes()
    with pytest.raises(InputError, match="is signed already"):
        sign(read_package(package), key)
    assert (package / "manifest.sig").read_bytes() == before


def test_a_new_key_replaces_none_and_is_its_owners(key, tmp_path):
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(InputError, match=r"key\.pem: cannot be written: File exists"):
        new_key_pair(key)
    assert (tmp_path / "key.pem").read_bytes() == before


def test_keys_that_cannot_be_used_are_named(package, key, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    private = other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "ec.pem").write_bytes(private)
    (tmp_path / "ec.pub").write_bytes(public)
    (tmp_path / "damaged").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    held = read_package(package)
    for file, said in (("ec.pem", "is no Ed25519 key"), ("key.pem.pub", "is no private key"), ("x", "read")):
        with pytest.raises(InputError, match=f"{file}: .*{said}"):
            sign(held, str(tmp_path / file))
    for file, said in (
        ("ec.pub", "that is no Ed25519 key"),
        ("key.pem", "holds no public key"),
        ("damaged", "holds a damaged public key"),
        ("x", "cannot be read"),
    ):
        with pytest.raises(InputError, match=f"{file}: .*{said}"):
            require_signature(held, str(tmp_path / file))
    assert not (package / "manifest.sig").exists()


@pytest.mark.skipif(which("openssl") is None, reason="needs openssl")
def test_openssl_says_the_same(package, key):
    sign(read_package(package), key)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", f"{key}.pub", "-rawin"]
    command += ["-in", str(package / MANIFEST), "-sigfile", str(package / "manifest.sig")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (package / MANIFEST).write_bytes((package / MANIFEST).read_bytes() + b" ")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_commands_make_sign_and_verify(registry, tmp_path, capsys):
    def said(*words: str) -> tuple[int, str]:
        code = run(["models", *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    key, place = str(tmp_path / "k.pem"), ["--registry", registry.url]
    assert said("keygen", key) == (0, f"{key}.pub\n")
    assert "not signed" in said("verify", "late@1", *place)[1]
    refused = said("verify", "late@1", "--trusted-keys", f"{key}.pub", *place)
    assert refused[0] == 1
    assert "is not signed" in refused[1]
    assert said("sign", "late@1", "--key", key, *place)[0] == 0
    code, out = said("verify", "late@1", "--trusted-keys", f"{key}.pub", "--json", *place)
    assert (code, json.loads(out)["signature"]) == (0, "trusted")
    assert "signature not checked" in said("verify", "late@1", *place)[1]
    assert said("sign", "late@1", "--key", key, *place)[0] == 2
    copytree(tmp_path / "registry/late/1", tmp_path / "copy")
    assert "signature trusted" in said("verify", str(tmp_path / "copy"), "--trusted-keys", f"{key}.pub")[1]
