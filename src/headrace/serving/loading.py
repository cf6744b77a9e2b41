"""Models loaded, warmed up, and exchanged for newer ones while requests go on."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from headrace.data.pii import require_keys
from headrace.data.storage import exists, join
from headrace.errors import HeadraceError, InputError
from headrace.packaging.package import MANIFEST, read_package
from headrace.packaging.registry import Registry
from headrace.packaging.signing import require_signature
from headrace.serving.examples import example_row
from headrace.serving.feeds import feeds_of_rows
from headrace.serving.predictor import Predictor
from headrace.serving.routing import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.packaging.package import Package
    from headrace.serving.options import GuardOptions, ServeOptions

_WARM = (1, 2, 8, 64)
_FIXED = re.compile(r"[^@]+@[0-9]+")


@dataclass(frozen=True, eq=False)
class Slot:
    """One version of a model in one arm, ready to answer; requests hold on to the slot that they began with."""

    arm: str
    version: str
    """``late@3``, or the name of the folder that was given."""
    url: str
    predictor: Predictor
    card: str
    """Markdown."""


@dataclass(frozen=True)
class Place:
    """Where the model of an arm is: a package's folder, or a name in a registry."""

    reference: str
    registry: str

    @property
    def is_folder(self) -> bool:
        """Whether the reference is the folder of a package."""
        return "/" in self.reference or exists(join(self.reference, MANIFEST))

    @property
    def may_move(self) -> bool:
        """Whether the reference may stand for another version later."""
        return not self.is_folder and _FIXED.fullmatch(self.reference) is None

    def find(self) -> tuple[str, str]:
        """Say which package it is now: its URL, and its version as answers name it.

        Raises
        ------
        InputError
            When there is no such model.
        """
        if self.is_folder:
            return self.reference, PurePosixPath(self.reference.rstrip("/")).name
        registry = Registry(self.registry)
        version = registry.named(self.reference)
        return registry.resolve(version), version


class Models:
    """The models of a server by arm; asking for one never waits, exchanging one is a single assignment.

    Parameters
    ----------
    options : ServeOptions
        Which models, and the guard.

    Raises
    ------
    HeadraceError
        When a model cannot be found or loaded.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._guard, self._trusted = options.guard, options.trusted_keys
        self._places = {CHAMPION: Place(options.model, options.registry)}
        if options.challenger is not None:
            self._places[CHALLENGER] = Place(options.challenger, options.registry)
        self._slots = {arm: self._load(arm, *place.find()) for arm, place in self._places.items()}
        if len(self._slots) == 2 and _kind(self._slots[CHAMPION]) != _kind(self._slots[CHALLENGER]):
            raise InputError(
                "predicts something else than the model",
                where=options.challenger or "",
                mend="name another one",
            )

    @property
    def slots(self) -> Mapping[str, Slot]:
        """What answers now, by arm."""
        return self._slots

    @property
    def moving(self) -> bool:
        """Whether any reference may stand for another version later."""
        return any(place.may_move for place in self._places.values())

    def refresh(self) -> list[Slot]:
        """Look where the references point now, and load and exchange what has moved.

        Requests under way keep the model that they began with.

        Returns
        -------
        list of Slot
            The new ones.

        Raises
        ------
        HeadraceError
            When a new one cannot be loaded; the old ones go on.
        """
        moved = []
        for arm, place in self._places.items():
            if not place.may_move:
                continue
            url, version = place.find()
            if url != self._slots[arm].url:
                slot = self._load(arm, url, version)
                if _kind(slot) != _kind(self._slots[arm]):
                    raise InputError(
                        "predicts something else than the model that is served",
                        where=version,
                        mend="start anew",
                    )
                self._slots = {**self._slots, arm: slot}
                moved.append(slot)
        return moved

    def _load(self, arm: str, url: str, version: str) -> Slot:
        published = not self._places[arm].is_folder
        return load(arm, url, version, self._guard, self._trusted, published=published)

    async def watch(
        self,
        seconds: float,
        *,
        moved: Callable[[Slot], None],
        failed: Callable[[str], None],
    ) -> None:
        """Refresh for ever, in a thread.

        Parameters
        ----------
        seconds : float
            Between two looks.
        moved : callable
            Is told each new slot.
        failed : callable
            Is told why a look or a load failed, once for each reason.
        """
        last = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                slots = await asyncio.to_thread(self.refresh)
            except HeadraceError as error:
                if str(error) != last:
                    failed(str(error))
                last = str(error)
            except Exception as error:  # noqa: BLE001 - storage libraries raise what they like; the old model goes on
                if type(error).__name__ != last:
                    failed(type(error).__name__)
                last = type(error).__name__
            else:
                last = ""
                for slot in slots:
                    moved(slot)


def load(
    arm: str,
    url: str,
    version: str,
    guard: GuardOptions,
    trusted: str | None = None,
    *,
    published: bool = False,
) -> Slot:
    """Read a package, check its hashes and who has signed it, build the predictor and warm it up.

    Raises
    ------
    PackageError
        When the package is damaged, not trusted, or cannot be served.
    """
    package: Package = read_package(url)
    require_signature(package, trusted, version=version if published else None)
    predictor = Predictor(package, guard)
    require_keys(predictor.signature.pii)
    row = example_row(predictor.signature)
    for rows in _WARM:
        # The guard stays out of it: what it counts are values that someone has sent.
        predictor.outputs(feeds_of_rows([row] * rows, predictor.signature.inputs))
    return Slot(arm, version, url, predictor, package.card)


def _kind(slot: Slot) -> tuple[Any, ...]:
    signature = slot.predictor.signature
    return signature.task, signature.target, signature.classes
