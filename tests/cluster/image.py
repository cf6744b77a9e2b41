"""The image of cluster/Dockerfile, built and run by podman and runc, without a registry of images."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("apt-get", "podman", "runc", "debootstrap")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
BASE, IMAGE = "localhost/base:debian", "localhost/headrace:0.1"
USER = 10001
EXTRAS = "s3,gcs,azure,kubernetes,sign"
"""What cluster/Dockerfile installs by default."""
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""Podman raises these by default, which a root of few rights may not."""


def missing() -> str:
    """Say why no image can be built here; empty when one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install --no-install-recommends podman runc buildah debootstrap"
    return "" if os.geteuid() == 0 else "debootstrap, and podman with its own storage, need root"


class CommandError(Exception):
    """A program did not end well."""


class UnavailableError(Exception):
    """Debian's packages cannot be had."""


def asked(words: list[str], *, timeout: float = 900, **options: Any) -> str:
    environment = {**os.environ, "PATH": SEARCHED}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=timeout, env=environment, **options
    )
    if done.returncode:
        raise CommandError(f"{' '.join(words)}: {done.stdout[-1_000:]}{done.stderr[-3_000:]}")
    return done.stdout


class Podman:
    """Podman with images and containers of its own, below a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.started: list[str] = []
        common = ["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"]
        self.words = ["podman", f"--root={place}/root", f"--runroot={place}/run", *common]
        try:
            self.ask("--storage-driver=overlay", "info")
            self.words.append("--storage-driver=overlay")
        except CommandError:
            # On a file system that is an overlay itself each container is a copy of the image.
            shutil.rmtree(place, ignore_errors=True)
            self.words.append("--storage-driver=vfs")

    def ask(self, *words: str, **options: Any) -> str:
        return asked([*self.words, *words], **options)

    def run(self, *options: str, command: list[str], timeout: float = 300) -> str:
        """Run the image to its end as a pod would be: no rights, and nothing of its own that can be written but /tmp."""
        return self.ask("run", "--rm", *self.held(options), IMAGE, *command, timeout=timeout)

    def start(self, name: str, *options: str, command: list[str]) -> None:
        self.ask("run", "--detach", "--name", name, *self.held(options), IMAGE, *command)
        self.started.append(name)

    @staticmethod
    def held(options: tuple[str, ...]) -> list[str]:
        return [*LIMITS, "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", *options]

    def log(self, name: str) -> str:
        done = subprocess.run(
            [*self.words, "logs", name], capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout + done.stderr

    def wait_for(self, name: str, text: str, *, timeout: float = 60) -> None:
        end = time.monotonic() + timeout
        while text not in self.log(name):
            assert time.monotonic() < end, f"{name} did not say {text!r}: {self.log(name)[-2_000:]}"
            time.sleep(0.2)

    def remove(self) -> None:
        """End what was started, and leave nothing."""
        for name in reversed(self.started):
            self.ask("rm", "--force", "--depend", "--time=5", name)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            mounted = line.split()[1]
            if mounted.startswith(f"{self.place}/"):
                asked(["umount", mounted])
        for group in Path("/sys/fs/cgroup").glob("*/libpod_parent"):
            with suppress(OSError):  # that of another podman is in use
                group.rmdir()


@contextmanager
def built() -> Iterator[Podman]:
    """Build the image from Debian's packages, Python's, and a wheel of this tree."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        place = Path(folder)
        podman = Podman(place / "podman")
        try:
            version = import_base(podman, place / "debian")
            context = place / "context"
            (context / "cluster").mkdir(parents=True)
            for name in (".dockerignore", "cluster/Dockerfile", "cluster/constraints.txt"):
                shutil.copy(ROOT / name, context / name)
            download(context / "dist", place / "wheels", version)
            # The build fetches nothing (this isolation has no network of its own): pip finds everything in a folder.
            (place / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
            podman.ask(
                "build",
                "--layers=false",  # each would be a whole copy
                "--isolation=chroot",
                "--network=host",
                f"--volume={place}/wheels:/wheels:ro",
                f"--volume={place}/pip.conf:/etc/pip.conf:ro",
                f"--build-arg=BASE={BASE}",
                f"--tag={IMAGE}",
                f"--file={context}/cluster/Dockerfile",
                str(context),
            )
            yield podman
        finally:
            podman.remove()


def import_base(podman: Podman, place: Path) -> str:
    """Make what python:3.11-slim-bookworm is to the Dockerfile out of Debian's packages; returns Python's version."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = asked(["apt-get", "indextargets", "--format", "$(CODENAME)|$(COMPONENT)|$(SITE)"])
    sites = [line.split("|")[2] for line in listed.splitlines() if line.startswith(f"{suite}|main|")]
    if not sites:
        raise UnavailableError(f"apt knows no mirror of {suite or 'this system'}")
    packages = "python3,python3-venv,python-is-python3"
    try:
        asked(["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(place), sites[0]])
    except CommandError as error:
        raise UnavailableError(str(error)) from None
    version = asked(
        ["chroot", str(place), "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    )
    archive = place.with_suffix(".tar")
    asked(["tar", "--create", f"--file={archive}", f"--directory={place}", "."])
    podman.ask("import", str(archive), BASE)
    return version.strip()


def download(dist: Path, wheels: Path, version: str) -> None:
    """Make the wheel of this tree, and get those that it needs for the image's Python, in the versions of the tests."""
    pip = [sys.executable, "-m", "pip"]
    asked(
        [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", f"--wheel-dir={dist}", str(ROOT)]
    )
    (wheel,) = dist.iterdir()
    asked(
        [
            *pip,
            "download",
            f"--constraint={ROOT}/cluster/constraints.txt",
            f"--dest={wheels}",
            f"--python-version={version}",
            "--only-binary=:all:",
            f"{wheel}[{EXTRAS}]",
        ]
    )
