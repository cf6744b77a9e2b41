"""headrace: the same with each worker a process of its own, as on more than four cores and on clusters."""

from __future__ import annotations

from fit_headrace import main

if __name__ == "__main__":
    main(processes=True)
