"""Which samples are in which subset, worked out once for the thousand times that an interval asks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Names = npt.NDArray[np.object_]
    Masks = Mapping[str, npt.NDArray[np.bool_]]

_KEPT = 8
_kept: OrderedDict[int, tuple[Names, Masks]] = OrderedDict()
"""By the identity of an array, which stays the same array as long as it is in here."""


def masks(names: Names) -> Masks:
    """Return subset -> which samples are in it, bool [n], in the order of their first samples.

    Args:
        names: The subset of each sample, [n]; must not change after the first call.
    """
    known = _kept.get(id(names))
    if known is None:
        known = _kept[id(names)] = (names, {name: names == name for name in dict.fromkeys(names)})
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return known[1]
