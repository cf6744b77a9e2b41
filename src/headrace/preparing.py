"""What a preparation learns after the profile, in a pass of its own: products of tokens whose weights the profile had to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.engine.commits import Form
from headrace.preparation.latent import LATENT, TokenPass, TokenProducts, weighed_texts
from headrace.preparation.parted import found_in
from headrace.training.sweeps import packed, unpacked

if TYPE_CHECKING:
    from headrace.engine.passes import Reader
    from headrace.selecting import Selector


def learn_products(selector: Selector, reader: Reader) -> None:
    """Read the training rows once more where texts are reduced, and add what is found to what the profile's pass found."""
    asked = token_pass(selector)
    if asked is None:
        return
    form = Form(_dump, _load)
    found = reader.reduce(selector.opened.trained, asked, TokenProducts.merge, name="prepare", form=form)
    selector.findings = {**selector.findings, LATENT: found}


def token_pass(selector: Selector) -> TokenPass | None:
    """Say what that pass measures: for all rows that may be learnt from, and for those of each fold; None when no text is reduced."""
    profiles = [selector.whole, *(() if selector.shared else selector.parts)]
    texts = {}
    for profile in profiles:
        names = selector.cells_of(profile)
        found = found_in(selector.findings, names)
        weighed = weighed_texts(profile, selector.workflow.prepare, selector.opened.features, found, names)
        texts.update({(text.recipe.name, names): text for text in weighed})
    return TokenPass(tuple(texts.values()), selector.opened.splitter) if texts else None


def _dump(found: TokenProducts) -> list[bytes]:
    return [packed(found.arrays())]


def _load(pieces: list[bytes]) -> TokenProducts:
    (piece,) = pieces
    return TokenProducts.from_arrays(unpacked(piece))
