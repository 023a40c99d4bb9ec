"""Few-shot image classification: sources of images, episodes, and the nearest-centroid classifier."""

from .episodes import Manifest, Protocol
from .images import ImageSet
from .task import FewShot, few_shot_card

__all__ = ["FewShot", "ImageSet", "Manifest", "Protocol", "few_shot_card"]
