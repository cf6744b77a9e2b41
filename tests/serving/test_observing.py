from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from headrace.serving.app import Server
from headrace.serving.loading import Models
from headrace.serving.observing import BoundedQueue, Failed, Labelled, Predicted
from headrace.serving.options import ServeOptions

from .conftest import ROW

if TYPE_CHECKING:
    from headrace.packaging.package import Package


def test_a_full_queue_drops_what_is_new_and_counts_it():
    queue = BoundedQueue(rows=2)
    for number in range(5):
        queue.observe(Labelled(float(number), f"r{number}", (1,)))
    assert (len(queue), queue.dropped) == (2, 3)
    assert [event.at for event in queue.drain()] == [0.0, 1.0]
    queue.observe(Failed(9.0, 422))
    assert [event.at for event in queue.drain()] == [9.0]


def test_an_observer_is_told_inputs_outputs_labels_and_failures(registry: str, packages: dict[str, Package]):
    options = ServeOptions(model="late@1", registry=registry, challenger="late@2", shadow=True)
    queue = BoundedQueue()
    server = Server(options, Models(options), observer=queue)

    async def ask() -> list[Any]:
        transport: Any = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            rows = {"rows": [ROW, {**ROW, "city": "Mu"}]}
            await client.post("/v1/predict", json=rows, headers={"x-request-id": "a"})
            await client.post("/v1/feedback", json={"request_id": "a", "labels": ["yes", None]})
            await client.post("/v1/predict", json={"rows": [1]})
            await asyncio.sleep(0.05)
        return queue.drain()

    events = asyncio.run(ask())
    predicted = [event for event in events if isinstance(event, Predicted)]
    assert [(each.version, each.arm, each.shadow) for each in predicted] == [
        ("late@1", "champion", False),
        ("late@2", "challenger", True),
    ]
    for each in predicted:
        assert (each.request_ids, each.request_rows) == (("a",), (2,))
        assert each.feeds["city"][:, 0].tolist() == ["Oslo", "Mu"]
        assert each.outputs.shape == (2, 2)
        assert [(finding.column, finding.rows.tolist()) for finding in each.findings] == [("city", [1])]
    assert [event.labels for event in events if isinstance(event, Labelled)] == [("yes", None)]
    assert [event.status for event in events if isinstance(event, Failed)] == [422]
    assert predicted[0].outputs == pytest.approx(predicted[1].outputs, abs=1e-9)
