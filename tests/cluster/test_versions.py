from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.cluster.versions import PACKAGES, differences

HERE: dict[str, str | None] = {"python": "3.11.7.final.0", **dict.fromkeys(PACKAGES, "1.2.3")}


def test_the_same_is_no_difference_and_patches_of_python_agree():
    assert differences(HERE, {"a": {**HERE, "python": "3.11.2.final.0"}}) == []
    assert differences(HERE, {}) == []


def test_each_package_is_named_once_with_a_worker():
    there = {"a": {**HERE, "numpy": "1.2.4"}, "b": {**HERE, "numpy": "1.2.4"}, "c": {**HERE, "scipy": None}}
    assert differences(HERE, there) == [
        "numpy is 1.2.3 here and 1.2.4 on a and 1 more",
        "scipy is 1.2.3 here and missing on c",
    ]


@given(st.sampled_from(PACKAGES), st.sampled_from(["0.1", "1.2.30", None]))
def test_any_other_version_of_any_package_is_found(package: str, version: str | None):
    assert len(differences(HERE, {"a": {**HERE, package: version}})) == 1


def test_another_python_is_found():
    assert differences(HERE, {"a": {**HERE, "python": "3.12.1.final.0"}}) == [
        "python is 3.11 here and 3.12 on a"
    ]
