"""A hash of what a model has learnt: the same in every process, changed by any coefficient."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = b"headrace-model-1"
MAX_DEPTH = 60


def model_digest(estimator: Any) -> str:
    """Hash the learnt model, not the file that holds it.

    The tree of estimators is walked in a fixed order. Of each estimator these take part: the import path
    of its class, its parameters (``get_params(deep=False)``) and its public fitted attributes, which by
    scikit-learn's convention end with ``_``. Arrays count by type, shape and values, numbers by value,
    dictionaries in the order of their keys. Random generators are left out: where a generator stands says
    nothing about what a finished model predicts.

    Parameters
    ----------
    estimator : scikit-learn estimator
        A fitted estimator or pipeline.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Raises
    ------
    RecursionError
        When the estimator contains itself.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> one, two = DummyRegressor().fit([[0.0]], [1.0]), DummyRegressor().fit([[0.0]], [2.0])
    >>> model_digest(one) == model_digest(one), model_digest(one) == model_digest(two)
    (True, False)
    """
    digest = hashlib.sha256(FORMAT)
    for piece in _walk(estimator, 0):
        # each piece carries its length, so that no two sequences of pieces run into the same bytes
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()


def _walk(value: Any, depth: int) -> Iterator[bytes]:  # noqa: C901, PLR0912 - a dispatch over kinds of values
    if depth > MAX_DEPTH:
        raise RecursionError(f"a {type(value).__name__} lies deeper than {MAX_DEPTH} levels in the model")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str, bytes)):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, float):
        yield b"float:" + value.hex().encode()
    elif isinstance(value, np.ndarray):
        yield from _array(value, depth)
    elif isinstance(value, (list, tuple)):
        yield f"sequence:{len(value)}".encode()
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict):
        yield f"mapping:{len(value)}".encode()
        for key, item in sorted(value.items(), key=lambda pair: _one(pair[0], depth)):
            yield from _walk(key, depth + 1)
            yield from _walk(item, depth + 1)
    elif isinstance(value, (set, frozenset)):
        yield f"set:{len(value)}".encode()
        yield from sorted(_one(item, depth) for item in value)
    elif isinstance(value, (np.random.RandomState, np.random.Generator, np.random.BitGenerator)):
        yield b"random generator"
    elif isinstance(value, np.dtype):
        yield f"dtype:{value.str}".encode()
    elif isinstance(value, slice):
        yield b"slice"
        yield from _walk((value.start, value.stop, value.step), depth + 1)
    elif isinstance(value, functools.partial):
        yield b"partial"
        yield from _walk((value.func, value.args, value.keywords), depth + 1)
    elif hasattr(value, "get_params") and not isinstance(value, type):
        yield from _estimator(value, depth)
    elif hasattr(value, "tocoo") and hasattr(value, "nnz"):
        yield from _sparse(value, depth)
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
        yield f"name:{getattr(value, '__module__', '')}.{value.__name__}".encode()
    else:
        # anything else by the standard protocol of copying: its constructor, arguments and state
        yield f"object:{_path(value)}".encode()
        yield from _walk(_parts(value), depth + 1)


def _one(value: Any, depth: int) -> bytes:
    digest = hashlib.sha256()
    for piece in _walk(value, depth + 1):
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.digest()


def _path(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _parts(value: Any) -> list[Any]:
    parts = value.__reduce_ex__(4)
    if isinstance(parts, str):
        return [parts]
    # the fourth and fifth parts are iterators over items; their content counts, not their identity
    return [list(part) if index > 2 and part is not None else part for index, part in enumerate(parts)]


def _array(value: np.ndarray[Any, Any], depth: int) -> Iterator[bytes]:
    if value.dtype == object:
        yield f"array:object:{value.shape}".encode()
        for item in value.ravel().tolist():
            yield from _walk(item, depth + 1)
        return
    little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
    yield f"array:{little.dtype.descr if little.dtype.names else little.dtype.str}:{value.shape}".encode()
    yield little.tobytes()


def _sparse(value: Any, depth: int) -> Iterator[bytes]:
    # by coordinates in row order, so that the index type and the storage format do not count
    coo = value.tocoo()
    order = np.lexsort((coo.col, coo.row))
    yield f"sparse:{coo.shape}".encode()
    for part in (coo.row[order].astype("<i8"), coo.col[order].astype("<i8"), coo.data[order]):
        yield from _array(part, depth)


def _estimator(value: Any, depth: int) -> Iterator[bytes]:
    yield f"estimator:{_path(value)}".encode()
    yield from _walk(value.get_params(deep=False), depth + 1)
    yield from _walk(_fitted(value), depth + 1)


def _fitted(estimator: Any) -> dict[str, Any]:
    # properties count too: an encoder tells its infrequent categories only through one
    names = {name for name in vars(estimator) if _is_fitted_name(name)}
    for kind in type(estimator).__mro__:
        names |= {
            name for name, held in vars(kind).items() if isinstance(held, property) and _is_fitted_name(name)
        }
    found = {}
    for name in names:
        try:
            found[name] = getattr(estimator, name)
        except AttributeError:  # a property that this fit did not make
            continue
    return found


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")
