"""A profile that shows itself in a notebook as its page, and answers for the pairs and trends on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from headrace.profiling.pairs import Pairs, find_pairs
from headrace.profiling.profile import Profile
from headrace.report import render_profile

if TYPE_CHECKING:
    from headrace.profiling.exploration import Exploration

HEIGHT = 760
"""Pixels of the page in a notebook; it scrolls."""


@dataclass(frozen=True)
class ShownProfile(Profile):
    """A `Profile` with what was explored beside it.

    Attributes
    ----------
    exploration : Exploration or None
        The sample, cross products, trend and absences; what is merged or collapsed from this profile is without them.
    title : str
        Of the page.
    provenance : dict or None
        The document ``provenance.json`` of the dataset.
    """

    exploration: Exploration | None = None
    title: str = ""
    provenance: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        profile: Profile,
        exploration: Exploration,
        title: str,
        provenance: dict[str, Any] | None = None,
    ) -> ShownProfile:
        """Put a profile and an exploration together."""
        held = {item.name: getattr(profile, item.name) for item in fields(Profile)}
        return cls(**held, exploration=exploration, title=title, provenance=provenance)

    @cached_property
    def plain(self) -> Profile:
        """The profile alone."""
        return Profile(**{item.name: getattr(self, item.name) for item in fields(Profile)})

    @cached_property
    def pairs(self) -> Pairs | None:
        """Which columns go together, and with the target; None when nothing was explored."""
        return None if self.exploration is None else find_pairs(self, self.exploration)

    def page(self) -> str:
        """Return the page, an HTML document that needs nothing else."""
        return render_profile(self, self.exploration, title=self.title, provenance=self.provenance)

    def merge(self, other: Profile) -> Profile:  # type: ignore[override] # of other rows, so without this exploration
        """Return the profile of both."""
        return self.plain.merge(other.plain if isinstance(other, ShownProfile) else other)

    def collapsed(self) -> Profile:  # type: ignore[override] # as merge
        """Return the profile without classes."""
        return self.plain.collapsed()

    def _repr_html_(self) -> str:
        # In a frame of its own, so that neither the page nor the notebook changes the other's style.
        name = escape(f"Profile of {self.title}")
        return (
            f'<iframe title="{name}" srcdoc="{escape(self.page())}" '
            f'style="width:100%;height:{HEIGHT}px;border:1px solid #8884;border-radius:8px"></iframe>'
        )
