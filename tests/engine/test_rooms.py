"""Memory of large arrays is used again, by one array at a time."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine import rooms
from headrace.preparation.regular import regular_csr

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _none_left():
    rooms.tidy(idle=0)
    yield
    gc.collect()
    rooms.tidy(idle=0)


@pytest.fixture
def small(monkeypatch):
    """Rooms of a few bytes, so that thousands are quick."""
    monkeypatch.setattr(rooms, "LEAST", 8)
    monkeypatch.setattr(rooms, "ROUNDED", 16)


def place(array: NDArray[Any]) -> int:
    where: int = array.__array_interface__["data"][0]
    return where


def test_an_array_has_the_memory_of_one_of_about_its_size_that_is_gone():
    first = rooms.empty((500_000, 16), np.float32)
    where = place(first)
    del first
    again = rooms.empty((499_990, 16), np.int32)
    assert place(again) == where
    assert again.shape == (499_990, 16)
    assert again.dtype == np.int32
    assert again.flags.c_contiguous
    assert again.flags.writeable


def test_a_view_keeps_the_memory_to_itself():
    first = rooms.empty((17 * MIB,), np.uint8)
    first[:] = 7
    part = first.reshape(17, MIB)[3:5]
    del first
    second = rooms.empty((17 * MIB,), np.uint8)
    second[:] = 0
    assert part.min() == part.max() == 7


def test_a_matrix_of_rooms_is_pickled_like_any_other():
    data, indices = (rooms.empty((1 << 19, 16), kind) for kind in (np.float32, np.int32))
    data[:], indices[:] = np.arange(16), np.arange(16)
    matrix = regular_csr(data, indices, 16)
    del data, indices
    other = pickle.loads(pickle.dumps(matrix, protocol=5))
    rooms.empty((1 << 19, 16), np.float32)[:] = -1
    assert (other[1000].toarray() == np.arange(16)).all()
    assert (matrix[1000].toarray() == np.arange(16)).all()


def test_small_arrays_are_those_of_numpy():
    assert rooms.empty((1000,), np.float64).base is None


def test_there_is_no_more_memory_than_was_in_use_at_one_time():
    for megabytes in (20, 30, 25, 40, 20):
        rooms.empty((megabytes * MIB,), np.uint8)
        assert [len(memory) for _, memory in rooms._free] == [megabytes * MIB]


def test_what_nobody_uses_is_let_go_of_after_a_while():
    rooms.empty((17 * MIB,), np.uint8)
    rooms.tidy()
    assert len(rooms._free) == 1
    rooms.tidy(idle=0)
    assert not rooms._free


@pytest.mark.usefixtures("small")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120), st.booleans()), max_size=60))
def test_no_two_arrays_in_use_share_memory(steps):
    held: list[tuple[int, NDArray[Any]]] = []
    for number, (size, drops) in enumerate(steps):
        if drops and held:
            held.pop(size % len(held))
        array = rooms.empty((size,), np.int64)
        array[:] = number
        held.append((number, array))
        assert all((other == mark).all() for mark, other in held)


@pytest.mark.usefixtures("small")
def test_threads_never_get_the_same_memory():
    wrong = []

    def work(number):
        for turn in range(2_000):
            array = rooms.empty((8 + turn % 3,), np.int64)
            array[:] = number
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
