"""Lets `python -m headrace` do what `headrace` does."""

from __future__ import annotations

from headrace.cli import main

main()
