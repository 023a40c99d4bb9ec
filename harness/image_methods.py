"""Methods that change what a model is shown: the model stays as it is, and so does what it counts and times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .abilities import Prefilling, Staged
from .methods import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL.Image import Image

    from .abilities import Mark
    from .contracts import Answer, Prompt
    from .measure.work import Work


class ImageMethod(Method):
    """A method that shows a model other images."""

    stage = "images"

    def for_model(self, model: Any) -> ImageMethod:  # noqa: ARG002 - most show every model the same
        """Return the method for a model that its images depend on."""
        return self

    def shown(self, image: Image) -> Image:
        """Return what is shown instead of an image in mode RGB."""
        raise NotImplementedError

    def digest(self, image: Image, digest: str) -> str:  # noqa: ARG002 - methods that ignore the content look at it
        """Return a digest of what is shown; images of equal digests must be shown alike.

        Args:
            image: The given one.
            digest: Of its content.
        """
        return f"{digest} {type(self).__name__} {self.model_dump_json()}"

    def apply(self, model: Any) -> Any:
        """Return a model that is shown the other images."""
        method = self.for_model(model)
        if not isinstance(model, Prefilling):
            return _Shown(model, method)
        return _ShownStaged(model, method) if isinstance(model, Staged) else _ShownPrefilling(model, method)

    def leaves(self, work: Work) -> Work:
        """Return the work as it is: a vision tower of one image size reads every image alike."""
        return work


class _Shown:
    """Generates from other images."""

    def __init__(self, model: Any, method: ImageMethod) -> None:
        self._model, self._method = model, method

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """Return one text for each prompt."""
        texts: Sequence[str] = self._model.generate(self._changed(prompts))
        return texts

    def _changed(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [self._of(prompt) for prompt in prompts]

    def _of(self, prompt: Prompt) -> Prompt:
        digests = map(self._method.digest, prompt.images, prompt.digests)
        return replace(prompt, images=tuple(map(self._method.shown, prompt.images)), digests=tuple(digests))


class _ShownPrefilling(_Shown):
    """The same of a model that says what its prefill costs."""

    def __init__(self, model: Any, method: ImageMethod) -> None:
        super().__init__(model, method)
        self.convention: Mapping[str, str] = model.convention
        self.module = model.module

    def answer(self, prompts: Sequence[Prompt]) -> Sequence[Answer]:
        """Return one answer for each prompt, with its cost."""
        answers: Sequence[Answer] = self._model.answer(self._changed(prompts))
        return answers

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what does the whole prefill once."""
        run: Callable[[], object] = self._model.prefill(self._changed(prompts))
        return run


class _ShownStaged(_ShownPrefilling):
    """The same of a model that marks the stages of its prefill."""

    def stages(self, prompts: Sequence[Prompt]) -> Callable[[Mark], object]:
        """Return what does the whole prefill and reads one more token, and marks its stages."""
        run: Callable[[Mark], object] = self._model.stages(self._changed(prompts))
        return run
