"""When loops are compiled."""

from __future__ import annotations

from headrace import compiling


def test_only_large_tables_and_workers_are_worth_the_load():
    rows, memory = compiling.WORTHWHILE, compiling.LEAST_MEMORY
    assert compiling.worthwhile(rows, memory)
    assert not compiling.worthwhile(rows - 1, memory)
    assert not compiling.worthwhile(rows, memory - 1)


def test_without_numba_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert not compiling.worthwhile(10**9, 1 << 40)


def test_where_nothing_can_be_kept_loops_are_compiled_all_the_same(monkeypatch):
    import numba

    numba.njit(lambda x: x)(1)  # what else numba loads at a first call compiles functions of its own

    def refusing(**how):
        if how.get("cache"):
            raise RuntimeError("no locator")
        return numba_njit(**how)

    numba_njit = numba.njit
    monkeypatch.setattr(numba, "njit", refusing)
    assert compiling.compiled(lambda x: x + 1)(1) == 2
