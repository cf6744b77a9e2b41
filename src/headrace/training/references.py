"""The preparation in whose terms products of chunks are kept, so that those of an earlier run serve another that was learnt since."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING

from headrace import __version__
from headrace.data.storage import join, read_bytes, write_bytes
from headrace.errors import DataError, StorageError
from headrace.preparation.fitted import Preparation
from headrace.preparation.plans import CategoryPlan
from headrace.training.exact_refit import carried, refit_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.profiling.profile import Profile

    Maps = tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

ENDING = ".preparation"


def refit_maps(
    whole: Preparation, folds: Sequence[Preparation], profile: Profile
) -> tuple[tuple[str, ...], Maps] | None:
    """Say how the preparations of all folds follow from one.

    Parameters
    ----------
    whole : Preparation
    folds : sequence of Preparation
        Of the same options and columns.
    profile : Profile
        Of all rows that are measured.

    Returns
    -------
    masks : tuple of str
        From `carried`.
    maps : tuple of (ndarray, ndarray)
        From `refit_map`, one a fold; None in place of both where one does not follow.
    """
    masks = carried(whole, profile)
    maps = []
    for fold in folds:
        found = refit_map(whole, fold, masks)
        if found is None:
            return None
        maps.append(found)
    return masks, tuple(maps)


def serves(reference: Preparation, whole: Preparation) -> bool:
    """Tell whether an earlier preparation has a place for every value that one of the data of now has one for.

    A fold's values are values of the whole; those of now may be none of the data from which the earlier one was learnt. Only
    its feature of rare values holds what it did not know.
    """
    earlier = {plan.name: plan for plan in reference.columns}
    changed = [
        (earlier.get(plan.name), plan)
        for plan in whole.columns
        if isinstance(plan, CategoryPlan) and earlier.get(plan.name) != plan
    ]
    return all(isinstance(old, CategoryPlan) and old.has_bucket >= new.has_bucket for old, new in changed)


def recall_reference(url: str, made_of: object) -> Preparation | None:
    """Give back the preparation in whose terms products of these settings are kept; None when there is none, or it is damaged."""
    try:
        return Preparation.from_json(read_bytes(_place(url, made_of)).decode())
    except (StorageError, DataError, ValueError, KeyError, TypeError):
        return None


def keep_reference(url: str, made_of: object, preparation: Preparation) -> None:
    """Keep products of these settings in terms of a preparation from now on."""
    write_bytes(_place(url, made_of), preparation.to_json().encode())


def _place(url: str, made_of: object) -> str:
    return join(url, hashlib.sha256(pickle.dumps((__version__, made_of))).hexdigest() + ENDING)
