"""Any model of ours as a model of lm-eval: ``simple_evaluate(model=serve("hf-lm:PATH"), ...)``.

On the command line::

    python -m adaptbench.adapters.lm_eval_model --model adaptbench --model_args spec=hf-lm:PATH --tasks ...

which is lm-eval's own command in a process that knows the name ``adaptbench``: lm-eval 0.4.13 looks for no models but
its own. Its ``--model_args`` cannot hold a comma, so that a spec with two arguments is served from Python only.

lm-eval's cache knows an answer by the request alone. Here the key begins with the model's fingerprint, so that no model
is given another one's answer.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

import lm_eval.models  # noqa: F401 - lm-eval lists its own models only if there are none when one is asked for
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs

from ..harness.batching import Batches
from ..harness.contracts import Prompt
from ..harness.errors import UserError
from ..harness.identity import BoundModel, Settings
from ..harness.planned_models import plan_model
from ..harness.plugins import load_plugins
from ..harness.specs import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lm_eval.api.instance import Instance

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
_DEFAULT = Settings()
_HEAD = 256
"""Characters that texts have in common which are answered together."""


@register_model("adaptbench")
class ServedModel(LM):  # type: ignore[misc] # lm-eval has no types
    """A model of ours that answers lm-eval's requests.

    Decoding is greedy. lm-eval's ``apply_chat_template`` gives the text that its own model of transformers makes of the
    checkpoint's template.

    Args:
        spec: Model spec, with methods and budget if any: ``hf-lm:EleutherAI/pythia-160m``.
        batch_size: Requests that are answered together; lm-eval's ``auto`` is the default.
        device: Where it runs, if it can choose; lm-eval's command says ``cuda``, which is ``cpu`` where there is none.
        max_batch_size: Taken for lm-eval's sake; batches shrink by themselves where memory runs out.

    Attributes:
        fingerprint: Of all that can change an answer: weights, spec, settings and code.

    Raises:
        UserError: The spec is malformed, or its model cannot be loaded.
    """

    def __init__(
        self,
        spec: str,
        batch_size: int | str = _DEFAULT.batch_size,
        device: str = _DEFAULT.device,
        max_batch_size: int | None = None,  # noqa: ARG002 - lm-eval gives it
    ) -> None:
        super().__init__()
        if device.startswith("cuda"):
            import torch

            device = device if torch.cuda.is_available() else "cpu"
        size = _DEFAULT.batch_size if str(batch_size).startswith("auto") else int(batch_size)
        planned = plan_model(load_plugins().registry, parse(spec))
        built = BoundModel(planned.seeded(0), planned.bind(seed=0, device=device))
        self._spec, self._batches = str(planned.spec), Batches(size, str(planned.spec))
        self.fingerprint = built.key(Settings(size, device), secrets.token_hex())
        self._model = built.load()

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Return an answer to each request.

        Raises:
            UserError: The model does not generate, or a request asks for samples or shows images.
        """
        generate = self._able("generate", "generates no text")
        prompts = [prompt(*request.args, where=f"model {self._spec}") for request in requests]
        return self._answered("generate_until", requests, prompts, generate)

    def loglikelihood(
        self,
        requests: Sequence[Instance],
        disable_tqdm: bool = False,  # noqa: ARG002
    ) -> list[tuple[float, bool]]:
        """Return log-probability and greediness of each continuation.

        Raises:
            UserError: The model has no log-likelihoods.
        """
        ask = self._able("loglikelihood", "has no log-likelihoods")
        return self._answered("loglikelihood", requests, [request.args for request in requests], ask)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """Return the log-probability of each text, read in windows where it is longer than the model's context.

        Raises:
            UserError: The model has no log-likelihoods.
        """
        ask = self._able("loglikelihood", "has no log-likelihoods")
        texts = [(None, *request.args) for request in requests]
        return self._answered("loglikelihood_rolling", requests, texts, lambda some: [value for value, _ in ask(some)])

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Take lm-eval's cache, and put the fingerprint in front of all of its keys."""
        super().set_cache_hook(cache_hook)
        if cache_hook.dbdict is not None:
            cache_hook.dbdict.encode_key = lambda key: f"{self.fingerprint}:{key}"

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval keeps requests under that a chat template has made."""
        return self.fingerprint

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the checkpoint's template, for lm-eval's results."""
        return getattr(self._model, "chat_template", None) if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the text that the checkpoint's chat template makes of messages.

        A system prompt that it does not take is left out, as lm-eval does for its own models.

        Raises:
            UserError: It has no template, or applies it itself.
        """
        apply: Callable[..., str] = self._able("apply_chat_template", "takes no chat template from lm-eval")
        if self._model.chat:
            todo = "leave out chat=true or lm-eval's --apply_chat_template"
            raise UserError("it applies its own chat template", where=f"model {self._spec}", todo=todo)
        try:
            return apply(chat_history, add_generation_prompt=add_generation_prompt)
        except UserError as error:
            messages = [message for message in chat_history if message["role"] != "system"]
            if len(messages) == len(chat_history):
                raise
            _warn_once(f"model {self._spec}: {error.what}; the system prompt is left out")
            return apply(messages, add_generation_prompt=add_generation_prompt)

    def get_model_info(self) -> dict[str, str]:
        """Return what lm-eval's results say about the model."""
        return {"adaptbench_spec": self._spec, "adaptbench_fingerprint": self.fingerprint}

    def _able(self, method: str, lack: str) -> Callable[..., Any]:
        found: Callable[..., Any] | None = getattr(self._model, method, None)
        if found is None:
            raise UserError(f"it {lack}", where=f"model {self._spec}", todo="choose another model or other tasks")
        return found

    def _answered(
        self,
        kind: str,
        requests: Sequence[Instance],
        asked: Sequence[_Asked],
        ask: Callable[[Sequence[_Asked]], Sequence[_Answer]],
    ) -> list[_Answer]:
        """Ask in batches of texts that are alike, and have lm-eval keep each batch's answers."""
        order = _alike([request.args for request in requests])
        answers: dict[int, _Answer] = {}

        def batch(places: Sequence[int]) -> None:
            for place, answer in zip(places, ask([asked[place] for place in places]), strict=True):
                answers[place] = answer
                self.cache_hook.add_partial(kind, requests[place].args, answer)

        self._batches(batch, order)
        return [answers[place] for place in range(len(asked))]


def prompt(text: str, wanted: dict[str, Any], *media: object, where: str) -> Prompt:
    """Return a request of lm-eval's for text as a prompt.

    Args:
        text: What the model reads.
        wanted: lm-eval's ``generation_kwargs``.
        media: Images and sounds, which there must not be.
        where: Who asks or answers, for messages.

    Raises:
        UserError: It asks for random samples, or shows something.
    """
    if media:
        raise UserError("images and sounds are not shown", where=where, todo="choose a task of text alone")
    kwargs: dict[str, Any] = dict(normalize_gen_kwargs(wanted))
    if kwargs["do_sample"]:
        raise UserError("decoding is greedy here, and it asks for samples", where=where, todo="set do_sample=false")
    return Prompt(text, max_new_tokens=kwargs["max_gen_toks"], stop=tuple(filter(None, kwargs["until"])))


def serve(spec: str, *, batch_size: int = _DEFAULT.batch_size, device: str = _DEFAULT.device) -> ServedModel:
    """Return a model of ours for ``lm_eval.simple_evaluate(model=...)``; see `ServedModel`."""
    return ServedModel(spec, batch_size, device)


@functools.cache
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning(text)


def _alike(requests: Sequence[tuple[Any, ...]]) -> list[int]:
    """Places in the order to ask in: those that begin alike together, the others by length."""
    heads = [request[0][:_HEAD] for request in requests]
    count = Counter(heads)
    lengths = [sum(len(part) for part in request if isinstance(part, str)) for request in requests]
    return sorted(range(len(requests)), key=lambda n: (heads[n] if count[heads[n]] > 1 else "", lengths[n]))


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
