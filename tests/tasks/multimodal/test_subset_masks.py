"""Which samples are in which subset."""

import numpy as np
from adaptbench.tasks.multimodal.subsets import masks


def test_masks_say_who_is_where_whatever_was_asked_before():
    for size in range(1, 40):
        names = np.array([*"bab"[: size % 3 + 1], str(size)], dtype=object)
        found = masks(names)
        assert list(found) == list(dict.fromkeys(names))
        assert all((mask == (names == name)).all() for name, mask in found.items())
        assert masks(names) is found
