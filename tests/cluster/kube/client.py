"""What a user of dask-kubernetes would write, run in a pod: the real KubeCluster with the objects that headrace makes."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from dask_kubernetes.operator import KubeCluster
from distributed import Client

from headrace.cluster.kubernetes import KubernetesCluster, cluster_object

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(condition: Callable[[], object]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 120
        time.sleep(0.2)
    return round(time.monotonic() - began, 1)


def allocate(mebibytes: int) -> int:
    held = bytearray(mebibytes << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    time.sleep(60)
    return len(held)


def main(options: str) -> None:
    file = KubernetesCluster.model_validate(json.loads(options))
    start: Any = KubeCluster
    told: dict[str, object] = {}
    spec = cluster_object(file, "by-kubecluster")
    with start(custom_cluster_spec=spec, namespace=file.namespace, quiet=True) as cluster:
        client: Any = Client(cluster)
        client.wait_for_workers(1, timeout=120)
        told["result"] = client.submit(sum, range(100)).result()
        cluster.scale(2)
        told["up"] = wait_for(lambda: len(client.nthreads()) == 2)
        cluster.scale(1)
        told["down"] = wait_for(lambda: len(client.nthreads()) == 1)
        (before,) = client.nthreads()
        eater = client.submit(allocate, 600, retries=5)
        told["out of memory"] = wait_for(lambda: before not in client.nthreads())
        eater.cancel()
        client.wait_for_workers(1, timeout=120)
        cluster.adapt(minimum=1, maximum=2)
        slow = client.map(time.sleep, [30 + number / 1000 for number in range(8)])
        told["adaptive up"] = wait_for(lambda: len(client.nthreads()) == 2)
        client.cancel(slow)
        del slow
        told["adaptive down"] = wait_for(lambda: len(client.nthreads()) == 1)
        client.close()
    print(json.dumps(told))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(sys.argv[1])
