"""Few-shot tasks by source of images: the factories that specs such as ``glyphs(ways=5,shots=1)`` name.

Each takes the source's own arguments and those of the protocol: ``ways``, ``shots``, ``queries``, ``episodes``, and
``manifest``, a file of stored episodes to replay.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from .digits import digits
from .episodes import Protocol
from .glyphs import glyphs
from .task import FewShot

if TYPE_CHECKING:
    from collections.abc import Callable

    from .images import ImageSet

_PROTOCOL = (
    inspect.Parameter("ways", inspect.Parameter.KEYWORD_ONLY, default=15),
    inspect.Parameter("shots", inspect.Parameter.KEYWORD_ONLY, default=1),
    inspect.Parameter("queries", inspect.Parameter.KEYWORD_ONLY, default=15),
    inspect.Parameter("episodes", inspect.Parameter.KEYWORD_ONLY, default=1500),
    inspect.Parameter("manifest", inspect.Parameter.KEYWORD_ONLY, default=None),
    inspect.Parameter("centroid", inspect.Parameter.KEYWORD_ONLY, default="mean"),
)


def few_shot(source: Callable[..., ImageSet]) -> Callable[..., FewShot]:
    """Make a task factory of a source of images: its signature is the source's, followed by the protocol's.

    ``seed`` is that of the episodes, and of the images too if the source draws them.
    """
    own = inspect.signature(source).parameters
    seed = () if "seed" in own else (inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=0),)
    signature = inspect.Signature([*own.values(), *seed, *_PROTOCOL])

    @functools.wraps(source)
    def factory(*args: Any, **kwargs: Any) -> FewShot:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        protocol = Protocol(**{name: values[name] for name in ("ways", "shots", "queries", "episodes")})
        images = source(**{name: values[name] for name in own})
        return FewShot(images, protocol, seed=values["seed"], manifest=values["manifest"], centroid=values["centroid"])

    factory.__signature__ = signature  # type: ignore[attr-defined]
    return factory


glyphs_task = few_shot(glyphs)
digits_task = few_shot(digits)
