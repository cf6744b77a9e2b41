# ruff: noqa: INP001  Sphinx reads this file by path
"""How Sphinx builds the documentation; every warning is an error there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import write_reference

from headrace import __version__

project = "headrace"
author = "The headrace maintainers"
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["reference/.*"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing"
]  # links from pages to files of the repository, which a reader of the site opens there

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc states the types
autosummary_generate = False
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"headrace {release}"

write_reference(Path(__file__).parent / "reference")
