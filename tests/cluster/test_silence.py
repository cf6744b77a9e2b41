from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.cluster.config import ClusterFile

if TYPE_CHECKING:
    import pytest


def lose_a_peer() -> None:
    logger = logging.getLogger("distributed.worker")
    logger.error("stream died", exc_info=OSError("the peer has gone"))


def test_what_worker_processes_log_of_lost_peers_is_not_printed_but_can_be_asked_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ClusterFile.model_validate(
        {"workers": 1, "memory": "512MiB", "processes": True}
    ).connect() as client:
        client.run(lose_a_peer)
        (logs,) = client.get_worker_logs().values()
    assert any("stream died" in text for _, text in logs)
    assert capfd.readouterr().err == ""
