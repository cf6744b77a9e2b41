"""Which arm answers a request: always the same one for the same key."""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

CHAMPION, CHALLENGER = "champion", "challenger"
_SEED = 0x5EED


@dataclass(frozen=True)
class Routing:
    """How requests are divided between two models.

    Attributes
    ----------
    share : float
        Share of the keys that the challenger answers, 0 to 1.
    shadow : bool
        Whether the challenger is asked about every request of the champion too, and its answers given to nobody.
    """

    share: float = 0.0
    shadow: bool = False

    def arm(self, key: str) -> str:
        """Choose the arm of a key: the hash of the key, as a fraction, against the share.

        A larger share takes keys from the champion and gives none back.

        Examples
        --------
        >>> Routing(1.0).arm("a"), Routing(0.0).arm("a"), Routing(1.0, shadow=True).arm("a")
        ('challenger', 'champion', 'champion')
        """
        if self.shadow or self.share <= 0:
            return CHAMPION
        fraction = xxhash.xxh64_intdigest(key.encode("utf-8", "surrogatepass"), seed=_SEED) / 2**64
        return CHALLENGER if fraction < self.share else CHAMPION
