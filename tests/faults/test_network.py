"""The network between scheduler, workers and coordinator: cut, half-open, slow, and a scheduler that is gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.conftest import SECONDS, complaint, end, require_same, until
from tests.faulty_tcp import network

if TYPE_CHECKING:
    from tests.faults.conftest import Site
    from tests.faulty_tcp import Way

pytestmark = pytest.mark.timeout(1_800)  # waits for other processes, on a machine that may be busy


@pytest.mark.slow
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_half_open_network_costs_a_worker_and_nothing_else(
    way: Way, site: Site, whole: dict[str, Any]
) -> None:
    site.pace(SECONDS)
    site.scheduler()
    with network() as faulty:
        far, near = site.worker("far", network=faulty), site.worker("near")
        site.cluster_file(workers=2)
        coordinator = site.lead()
        until(lambda: site.works(far) and site.works(near), coordinator, far, near)
        with site.watched() as counted:
            faulty.hold(way)
            until(lambda: "far" not in counted(), coordinator)
        site.hold_after(site.committed() + 2, coordinator, near)
        faulty.heal()
        site.pace(0)
        require_same(coordinator, whole)


@pytest.mark.slow
def test_a_network_that_is_cut_and_healed_changes_nothing(site: Site, whole: dict[str, Any]) -> None:
    site.pace(SECONDS)
    site.scheduler()
    with network() as faulty:
        far, near = site.worker("far", network=faulty), site.worker("near")
        site.cluster_file(workers=2)
        coordinator = site.lead()
        until(lambda: site.works(far) and site.works(near), coordinator, far, near)
        faulty.cut()
        until(lambda: far.poll() is not None, coordinator)
        faulty.heal()
        again = site.worker("again", network=faulty)  # as its platform would start it
        until(lambda: site.works(again), coordinator, near, again)
        site.pace(0)
        require_same(coordinator, whole)


@pytest.mark.slow
def test_a_run_that_is_cut_from_its_only_worker_stops_and_goes_on(site: Site, whole: dict[str, Any]) -> None:
    site.scheduler()
    with network() as faulty:
        far = site.worker("far", network=faulty)
        with site.watched() as counted:
            until(lambda: "far" in counted(), far)
        site.cluster_file(wait="5s")
        coordinator = site.lead()
        site.hold_after(3, coordinator, far)
        faulty.cut()
        assert "every worker is gone and none has come back" in complaint(coordinator)
        faulty.heal()
        site.pace(0)
        site.worker("again", network=faulty)
        site.cluster_file()
        require_same(site.lead("--resume", "run"), whole)


@pytest.mark.slow
def test_a_slow_network_is_only_slow(site: Site, whole: dict[str, Any]) -> None:
    site.scheduler()
    with network() as faulty:
        faulty.bytes_per_second, faulty.latency = 50_000, 0.02
        far, near = site.worker("far", network=faulty), site.worker("near")
        site.cluster_file(workers=2)
        require_same(site.lead(), whole)
        assert site.works(far)
        assert site.works(near)


@pytest.mark.parametrize("fault", ["cut", pytest.param("killed", marks=pytest.mark.slow)])
def test_a_run_that_loses_its_scheduler_stops_in_one_line_and_goes_on(
    fault: str, site: Site, whole: dict[str, Any]
) -> None:
    scheduler = site.scheduler()
    worker = site.worker("one")
    with network() as faulty:
        site.cluster_file(address=f"tcp://127.0.0.1:{faulty.proxy(site.port, into=False)}")
        coordinator = site.lead()
        site.hold_after(3, coordinator, worker)
        if fault == "cut":
            faulty.cut()
        else:
            end(scheduler)
        said = complaint(coordinator)
        assert "the scheduler ended, or the connection to it was lost; go on by --resume" in said
        record = json.loads((site.place / "run" / "run.json").read_text())
        assert record["status"] == "failed"
        assert said == f"headrace: {record['error']}"
    if fault == "killed":
        end(worker)
        site.scheduler()
        site.worker("another")
    site.pace(0)
    site.cluster_file()
    require_same(site.lead("--resume", "run"), whole)
