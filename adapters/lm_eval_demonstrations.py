"""lm-eval's demonstrations, but that no document is shown its own answer.

lm-eval 0.4.13 leaves a document out of its own demonstrations only where ``fewshot_split`` names the evaluated test
split, and then only those that are equal to it. docs/lm-eval.md lists where it shows a question with its own answer.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

Demonstrations: TypeAlias = Literal["others", "lm-eval"]
"""Whose: ``others`` draws another document where lm-eval would show one its own answer, ``lm-eval`` changes nothing."""


class OtherDocuments:
    """Stands between a task and its sampler, which draws as always; only a document's own answer is drawn again.

    Args:
        task: A task of lm-eval's that shows demonstrations. Its requests must be built afterwards, for all documents.
        seed: By which others are drawn in their place.
        whose: See `Demonstrations`.
    """

    def __init__(self, task: Any, seed: int, whose: Demonstrations) -> None:
        self._task, self._sampler, self._context = task, task.sampler, task.fewshot_context
        self._seed, self._whose = seed, whose
        self._pool = list(task.sampler.fewshot_docs())
        self._same_rows = _pool_split(task) == _evaluated_split(task) and len(self._pool) == len(task.eval_docs)
        self._first = task.fewshot_cfg.sampler == "first_n"
        self._documents = self._shown_own = self._short = 0
        task.sampler, task.fewshot_context = self, self._of_document

    @property
    def note(self) -> str:
        """What a reader must know, if lm-eval shows any document its own answer."""
        if not self._shown_own:
            return ""
        said = f"lm-eval shows {self._shown_own:,} of {self._documents:,} documents their own answer as a demonstration"
        if self._whose == "lm-eval":
            return f"{said}, and so does this task"
        short = f"; {self._short:,} have fewer demonstrations, since there are no more" if self._short else ""
        return f"{said}; here they are shown another document instead{short}"

    def sample(self, n: int, eval_doc: Any = None, **kwargs: Any) -> list[Any]:
        """Return the demonstrations of the document at hand, as lm-eval's samplers do."""
        try:
            drawn = list(self._sampler.sample(n=n, eval_doc=eval_doc, **kwargs))
        except (ValueError, AssertionError) as error:  # what random.sample and lm-eval's samplers say
            raise UserError(
                f"{n} demonstrations are more than lm-eval draws from {len(self._pool)} documents",
                where=f"lm-eval task {self._task.config.task}",
                todo="give a smaller shots=",
            ) from error
        own = [document for document in drawn if self._is_own(document)]
        self._shown_own += bool(own)
        if not own or self._whose == "lm-eval":
            return drawn
        kept = [document for document in drawn if document not in own]
        kept += islice(self._others(kept), n - len(kept))
        self._short += len(kept) < n
        return kept

    def _of_document(self, doc: Any, *args: Any, **kwargs: Any) -> Any:
        self._document, self._row = doc, self._documents
        self._documents += 1
        return self._context(doc, *args, **kwargs)

    def _others(self, kept: list[Any]) -> Iterator[Any]:
        pool = self._pool
        if not self._first:
            pool = random.Random(f"{self._seed} {self._row}").sample(pool, len(pool))  # noqa: S311 - no secret
        return (document for document in pool if document not in kept and not self._is_own(document))

    def _is_own(self, demonstration: Any) -> bool:
        """Whether it is the document at hand, or reads the same."""
        own = self._pool[self._row] if self._same_rows else self._document
        if demonstration in (own, self._document):
            return True
        formats = self._task.fewshot_cfg
        shown = self._read(demonstration, formats.doc_to_text, formats.doc_to_choice, formats.doc_to_target)
        return shown == self._read(self._document)

    def _read(self, document: Any, text: Any = None, choice: Any = None, target: Any = None) -> str:
        """Question and answer as lm-eval writes them."""
        task = self._task
        question, answer = task.doc_to_text(document, text), task.doc_to_target(document, target)
        choices: Any = task.doc_to_choice(document, choice) if task.config.doc_to_choice else None
        if task.multiple_input:
            question, choices = choices[question], None
        return "".join(message.to_text() for message in task.build_qa_turn(q=question, c=choices, a=answer))


def _pool_split(task: Any) -> Any:
    """The split that demonstrations are drawn from; ``None`` where the task writes them out."""
    formats, config = task.fewshot_cfg, task.config
    if formats.split is not None or formats.samples is not None:
        return formats.split
    return config.training_split or config.validation_split or config.test_split


def _evaluated_split(task: Any) -> Any:
    return task.config.test_split or task.config.validation_split
