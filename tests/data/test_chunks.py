from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.chunks import FileInfo, cut_chunks, target_memory
from headrace.data.footers import RowGroup

MIB = 1 << 20

groups = st.builds(
    RowGroup,
    rows=st.integers(0, 1000),
    bytes=st.integers(0, 1000),
    memory=st.integers(0, 6 * MIB),
    offset=st.just(4),
)
files = st.lists(
    st.builds(
        lambda row_groups: FileInfo(
            "p", "k", 1, sum(group.rows for group in row_groups), tuple(row_groups), ()
        ),
        st.lists(groups, max_size=6),
    ),
    max_size=6,
).map(
    lambda found: [
        FileInfo(f"p{i}", f"k{i}", 1, file.rows, file.row_groups, ()) for i, file in enumerate(found)
    ]
)


@given(files, st.sampled_from([1, 64 * MIB, 128 * MIB]))
@settings(max_examples=50, deadline=None)
def test_every_row_group_with_rows_is_in_one_chunk_in_order(found: list[FileInfo], memory: int) -> None:
    chunks = cut_chunks(found, memory)
    seen = [(piece.path, number) for chunk in chunks for piece in chunk.pieces for number in piece.row_groups]
    held = [
        (file.path, number) for file in found for number, group in enumerate(file.row_groups) if group.rows
    ]
    assert seen == held
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert sum(chunk.rows for chunk in chunks) == sum(file.rows for file in found)
    for chunk in chunks:
        assert chunk.rows == sum(piece.rows for piece in chunk.pieces)
        numbers = sum(len(piece.row_groups) for piece in chunk.pieces)
        assert numbers == 1 or chunk.memory <= target_memory(memory)


@given(files)
@settings(max_examples=25, deadline=None)
def test_a_piece_knows_its_first_row(found: list[FileInfo]) -> None:
    by_path = {file.path: file for file in found}
    for chunk in cut_chunks(found, 1):
        for piece in chunk.pieces:
            before = by_path[piece.path].row_groups[: piece.row_groups[0]]
            assert piece.first_row == sum(group.rows for group in before)


def test_the_target_is_a_share_of_the_budget_within_bounds() -> None:
    assert target_memory(1) == 4 * MIB
    assert target_memory(1 << 30) == 64 * MIB
    assert target_memory(1 << 40) == 256 * MIB
