"""Documents that are not what they should be are told in one line that names the file, never by a KeyError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.commits import Commits, Form, PassRecord
from headrace.engine.ledger import PROGRESS, Ledger, Progress
from headrace.errors import DataError, RunError
from headrace.profiling.profile import profile_table

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

TABLE = pa.table({"x": np.arange(20.0), "c": ["a", "b"] * 10, "y": [0, 1] * 10})
PROFILE = profile_table(TABLE, target="y")["all"]


def paths(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = document.items() if isinstance(document, dict) else ()
    return [at, *(path for key, child in children for path in paths(child, (*at, key)))]


@given(st.sampled_from(paths(PROFILE.to_dict())), st.sampled_from([None, [], "word", 3]))
def test_a_profile_with_anything_replaced_is_read_or_refused_by_name(path: tuple[Any, ...], by: Any) -> None:
    document: Any = PROFILE.to_dict()
    if path:
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = by
    else:
        document = by
    told = ""
    try:
        type(PROFILE).from_dict(document, where="profile.json")
    except DataError as error:
        told = str(error)
    assert told == "" or told.startswith("profile.json: is not a profile")


def test_a_record_of_a_pass_that_another_version_wrote_is_refused() -> None:
    known = Progress({"record": {"name": "profile", "colour": 3}}, {}, ())
    with pytest.raises(RunError, match="run/ledger: a state of the ledger cannot be read by this version"):
        PassRecord.known(known, where="run/ledger")


def test_a_state_that_another_version_wrote_is_refused_here_and_on_workers(
    tmp_path: Path, threads: Client
) -> None:
    def load(pieces: list[bytes]) -> Any:
        known: dict[bytes, int] = {}
        return known[pieces[0]]

    ledger = Ledger(str(tmp_path))
    ledger.append(PROGRESS, {"position": 1, "done": True, "record": {}}, {"state": b"1"}, key="profile")
    commits = Commits(threads, ledger, Form(lambda _: [b""], load), "profile")
    known = commits.known()
    assert known is not None
    with pytest.raises(RunError, match=r"go on with the versions that run\.json names"):
        commits.state(known, ["state"])
    with pytest.raises(RunError, match="cannot be read by this version"):
        commits.root([b"1"]).result()
