"""A cluster class named by its import path, such as those of dask-cloudprovider."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headrace.cluster.workers import ScaledWorkers
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security


class CloudCluster(ScaledWorkers):
    """Workers started by any class that makes Dask clusters."""

    kind: Literal["cloud"] = Field(description="cloud: a cluster class by its import path")
    cluster_class: str = Field(
        alias="class",
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Import path, dask_cloudprovider.aws.FargateCluster for instance",
    )
    options: dict[str, Any] = Field(
        default={},
        description="What the class is called with; it must give each worker the threads and memory of this file",
    )

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[Any]:
        """Call the class, ask it for workers, and close what it made at the end."""
        given = dict(self.options)
        if security is not None:
            given.setdefault("security", security)
        with cluster_class(self.cluster_class)(**given) as cluster:
            if self.bounds.min == self.bounds.max:
                cluster.scale(self.bounds.max)
            else:
                cluster.adapt(minimum=self.bounds.min, maximum=self.bounds.max)
            yield cluster


def cluster_class(path: str) -> Any:
    """Import a class by its path.

    Raises
    ------
    InputError
        When there is none, or its package is not installed.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"there is no {path} ({error})", where="class", mend="install its package, or correct the path"
        ) from None
