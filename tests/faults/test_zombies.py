"""A worker that is stopped for so long that it is given up, and comes back when others have done its work."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.conftest import SECONDS, require_same, until

if TYPE_CHECKING:
    from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(1_800)  # waits for other processes, on a machine that may be busy


@pytest.mark.slow
def test_a_worker_that_was_given_up_comes_back_and_changes_nothing(site: Site, whole: dict[str, Any]) -> None:
    site.pace(SECONDS)
    site.scheduler()
    zombie, other = site.worker("zombie"), site.worker("other")
    site.cluster_file(workers=2)
    coordinator = site.lead()
    until(lambda: site.works(zombie) and site.works(other), coordinator, zombie, other)
    with site.watched() as counted:
        zombie.send_signal(signal.SIGSTOP)
        until(lambda: "zombie" not in counted(), coordinator)
    site.hold_after(site.committed() + 2, coordinator, zombie, other)
    zombie.send_signal(signal.SIGCONT)
    site.pace(0)
    require_same(coordinator, whole)
