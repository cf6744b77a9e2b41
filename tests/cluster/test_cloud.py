from __future__ import annotations

import pytest
from tests.cluster.conftest import scheduler_of

from headrace.cluster.cloud import CloudCluster, cluster_class
from headrace.errors import InputError

KEYS = {
    "kind": "cloud",
    "class": "distributed.LocalCluster",
    "memory": "512MiB",
    "wait": "60s",
    "options": {
        "n_workers": 1,
        "threads_per_worker": 1,
        "memory_limit": 512 << 20,
        "protocol": "tls://",
        "dashboard_address": "127.0.0.1:0",
        "host": "127.0.0.1",
        "processes": False,
    },
}


@pytest.mark.parametrize("workers", [2, {"min": 1, "max": 2}])
def test_any_cluster_class_is_encrypted_scaled_and_closed(workers: object):
    cluster = CloudCluster.model_validate({**KEYS, "workers": workers})
    with cluster.connect() as client:
        assert scheduler_of(client).startswith("tls://")
        assert len(client.nthreads()) >= cluster.fewest_workers
        assert client.submit(divmod, 7, 2).result() == (3, 1)
    assert client.status == "closed"


@pytest.mark.parametrize("path", ["nowhere.Cluster", "distributed.NoCluster"])
def test_a_class_that_is_not_there_is_named(path: str):
    with pytest.raises(InputError, match=f"there is no {path}"):
        cluster_class(path)
