"""DomainNet (Peng et al., 2019): 345 classes in six domains, split 180/65/100 by the order of their names.

The dissertation prints 185 training classes (A.5.1), which would make 350; the code has 180. Which classes they are is
not published.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ..decoding import file_input
from .folders import class_files, folder, image_folder
from .images import collect
from .published import Published, folder_names
from .splits import refuse_overlap

if TYPE_CHECKING:
    from .images import ImageSet

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
PUBLISHED = Published("domainnet", {"train": 180, "val": 65, "test": 100})


def domainnet(root: str, *, domain: str = "sketch", split: str = "test", complete: bool = True) -> ImageSet:
    """Read ``ROOT/{domain}_split/{split}/<class>``, else the classes of ``ROOT/{domain}`` that belong to the split.

    Args:
        root: The folder of the domains. The classes of all domains there are split, so that all are split alike.
        domain: One of the six.
        split: ``train``, ``val`` or ``test``.
        complete: Whether a missing class is an error.

    Raises:
        UserError: There is no such domain, or it is not whole.
    """
    if domain not in DOMAINS:
        raise UserError(f"no domain {domain!r}", where="domainnet", todo=f"choose from {', '.join(DOMAINS)}")
    split = PUBLISHED.split(split)
    base = folder(Path(root).expanduser(), "write root=FOLDER, where the domains lie")
    if (base / f"{domain}_split").is_dir():
        refuse_overlap(folder_names(base / f"{domain}_split", PUBLISHED.classes), str(base))
        images = image_folder(str(base / f"{domain}_split"), split=split)
    else:
        folder(base / domain, f"there is neither {domain} nor {domain}_split; write root=FOLDER, where the domains lie")
        titles = sorted({title for titles in folder_names(base, DOMAINS).values() for title in titles})
        if len(titles) != sum(PUBLISHED.classes.values()):
            todo = f"restore the classes, or make the folders {domain}_split/train, val and test"
            raise UserError(f"its domains have {len(titles)} classes, not 345", where=str(base), todo=todo)
        wanted = PUBLISHED.share(titles, split)
        found = [(title, base / domain / title) for title in wanted if (base / domain / title).is_dir()]
        images = collect(
            "domainnet", ((title, map(file_input, class_files(str(path)))) for title, path in found), where=str(base)
        )
    images = PUBLISHED.checked(images, split, complete=complete, where=str(base / domain))
    return replace(images, name=f"domainnet-{domain}/{split}")
