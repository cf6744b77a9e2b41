from __future__ import annotations

import subprocess
import sys

import pytest

import headrace


def test_importing_headrace_loads_nothing():
    code = "import sys; before = set(sys.modules); import headrace; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & {"numpy", "pandas", "pyarrow", "dask", "sklearn", "pydantic", "typer"} == set()


@pytest.mark.parametrize("name", headrace.__all__)
def test_each_public_name_is_found_and_listed(name: str):
    assert getattr(headrace, name) is getattr(headrace, name)
    assert name in dir(headrace)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headrace.nothing  # noqa: B018  the access is what is tested


def test_profile_is_a_function_and_not_a_module():
    from headrace.profiling.profile import Profile

    assert callable(headrace.profile)
    assert headrace.Profile is Profile
