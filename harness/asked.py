"""What a sample asks, for people to see: its texts and images, or the classes of an episode."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .abilities import AsksEpisodes
from .contracts import MaskedPrompt, Prompt
from .errors import BadSample, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image

    from .contracts import Episode, Sample, Task

_MOST_INPUTS = 16
"""Of a sample without classes, that are read."""


class Asked(NamedTuple):
    """What a sample asks.

    Attributes:
        text: The texts, each once, one a line; of an episode its classes and how many images of each.
        images: Some of the images, each with what it is called, which may be nothing.
        classes: Of an episode, by the number that answers have; empty of all else.
    """

    text: str
    images: list[tuple[str, Image]]
    classes: Sequence[str] = ()


def what_is_asked(task: Task, sample: Sample, most: int = 4) -> Asked:
    """Return what a sample asks; what cannot be read of it is left out.

    Args:
        task: The task.
        sample: One of its samples.
        most: Images that are shown.
    """
    episode = task.episode(sample) if isinstance(task, AsksEpisodes) else None
    return _questions(task, sample, most) if episode is None else _episode(task, episode, most)


def _questions(task: Task, sample: Sample, most: int) -> Asked:
    texts: dict[str, None] = {}
    images: list[Image] = []
    for loaded in _loaded(task, sample.inputs[:_MOST_INPUTS]):
        if isinstance(loaded, Prompt):
            texts[loaded.text.strip()] = None
            images += loaded.images
        elif isinstance(loaded, MaskedPrompt):
            mask = [*(piece.text for piece in loaded.before), "[mask]", *(piece.text for piece in loaded.after)]
            texts["".join(mask)] = None
        elif isinstance(loaded, tuple):
            texts["".join(filter(None, loaded))] = None
        else:
            images.append(loaded)
    return Asked("\n".join(texts), [("", image) for image in images[:most]])


def _episode(task: Task, episode: Episode, most: int) -> Asked:
    """The first images are support images of each class in turn; where there are none, queries."""
    ways, shots, queries = len(episode.classes), len(episode.support[0]), len(episode.query[0])
    text = (
        f"{ways}-way {shots}-shot: {', '.join(episode.classes)}\n"
        f"{ways * shots} support images, {ways * queries} query images, {queries} of each class"
    )
    turns = zip(*(episode.support if shots else episode.query), strict=True)
    shown = [(name, place) for turn in turns for name, place in zip(episode.classes, turn, strict=True)][:most]
    return Asked(text, [(name, image) for name, place in shown for image in _loaded(task, [place])], episode.classes)


def _loaded(task: Task, positions: Sequence[int]) -> Iterator[Any]:
    for position in positions:
        with suppress(BadSample, UserError):
            yield task.inputs[position].load()
