"""Any model that an OpenAI-compatible server runs: vLLM, SGLang, llama.cpp, hosted ones.

Answers are asked as chat completions, images as PNG in data URLs; likelihoods as completions that echo their prompt
with its log-probabilities. Each input is asked apart, several at once, and an answer is kept as soon as it is there.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import threading
from typing import TYPE_CHECKING, Any

from ..harness.contracts import Answer, Likelihood, Prompt
from ..harness.errors import BadSample, MissingArgument, UserError
from ..harness.prefill_cost import PrefillCost
from ..harness.reading import shown
from ..harness.texts import printable
from .server_requests import Limits, Server, checked_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from PIL.Image import Image

    from ..harness.transformer import Architecture
    from .transformers_meta import Blueprint

_URL = "https://api.openai.com/v1"
_MOST_STOPS = 4
"""Stop texts that the protocol allows."""
_TOLD = ("owned_by", "root", "max_model_len")
"""What servers say of a model that does not change when they are started anew."""
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


class ServedModel:
    """A model behind an OpenAI-compatible server.

    Args:
        model: What the server calls it.
        url: Of the server, up to ``/v1``.
        key: Environment variable that holds the key, if the server wants one.
        chat: Ask for chat completions; else for completions of the text as it stands.
        system: A system prompt of the chat.
        temperature: ``null`` to leave it to the server.
        seed: ``null`` to leave it to the server.
        max_tokens: Of an answer, instead of the task's; models that think before they answer need more.
        limit_name: What the server calls that: ``max_tokens`` or ``max_completion_tokens``.
        start: What an empty context of a likelihood is, such as ``<|endoftext|>``, if the tokenizer adds nothing.
        architecture: Registered architecture (``llama-3-8b``, ``hf:PATH``), config file, folder or hub id by whose
            shape prefills are priced; empty if it is not known.
        concurrency: Requests at once.
        per_minute: Requests a minute, retries among them; ``null`` for any number.
        retries: Further attempts at a request that failed.
        timeout: Seconds without a byte of the reply after which a request has failed.

    Attributes:
        convention: How ``flops`` are priced.

    Raises:
        UserError: An argument cannot be used, the server is not there, or it refuses the key.
    """

    def __init__(  # noqa: PLR0913 - one parameter is one option
        self,
        model: str,
        *,
        url: str = _URL,
        key: str = "OPENAI_API_KEY",
        chat: bool = True,
        system: str = "",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int | None = None,
        limit_name: str = "max_tokens",
        start: str = "",
        architecture: str = "",
        concurrency: int = 8,
        per_minute: float | None = None,
        retries: int = 5,
        timeout: float = 300.0,
    ) -> None:
        if limit_name not in _LIMIT_NAMES:
            todo = f"choose from {', '.join(_LIMIT_NAMES)}"
            raise UserError(f"unknown limit_name {limit_name!r}", where=f"openai:{model}", todo=todo)
        if system and not chat:
            raise UserError("a system prompt is a part of a chat", where=f"openai:{model}", todo="leave chat=false out")
        self._model, self._chat, self._system, self._start = model, chat, system, start
        self._max_tokens, self._limit_name = max_tokens, limit_name
        given = {"model": model, "temperature": temperature, "seed": seed}
        self._always: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._architecture = _architecture(architecture) if architecture else None
        self._priced_as = architecture
        self._server = Server(url, key, Limits(concurrency, per_minute, retries, timeout))
        self._said: set[str] = set()
        self._lengths: dict[str, int] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._listed = self._look_up()
        self.convention: Mapping[str, Any] = {"phase": "prefill", "counter": "priced", "attention": "not known"}

    @classmethod
    def fingerprint(cls, model: str, *, url: str = _URL, **_: Any) -> str:
        """Name the model and its server; what weights it has, only the server knows."""
        return f"served:{model} at {checked_url(url)}"

    @staticmethod
    def blueprint(model: str, *, architecture: str = "", **_: Any) -> Blueprint:
        """Return the architecture that the spec names."""
        if not architecture:
            what = f"what architecture the server runs as {model!r} is not said"
            raise MissingArgument(
                what, where=f"openai:{model}", todo="add architecture=, such as llama-3-8b or hf:PATH"
            )
        return _blueprint(architecture)

    @property
    def uncounted(self) -> str:
        """Why answers come without FLOPs."""
        if self._architecture is None:
            return "not counted: a server runs it; architecture= prices it"
        return "not priced: the server does not say how many tokens it read, or they do not fit the architecture"

    @property
    def notes(self) -> tuple[str, ...]:
        """Which server answered, what it says of the model, and what FLOPs are of."""
        said = "; ".join([self._listed, *sorted(self._said)])
        notes = [f"answered by a server, {self._server.url}, {said}"]
        if self._architecture is not None:
            how = "by the tokens that the server says it read, whether or not it had some of them in a cache"
            notes.append(f"FLOPs were not counted but are priced from the architecture {self._priced_as}, {how}")
        return tuple(notes)

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer per prompt, in order.

        Raises:
            BadSample: The server refuses one of the prompts.
            UserError: It gives no answer.
        """
        return [answer.text for answer in self._ordered(prompts)]

    def loglikelihood(self, pairs: Sequence[tuple[str | None, str]]) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether greedy decoding would say it, in order.

        Both are texts as they stand, whatever ``chat`` says. As in lm-eval, blanks at the end of a context are read as
        the beginning of the continuation, whose tokens are those beyond as many as the context has by itself.

        Raises:
            BadSample: The server refuses one of the texts, or does not tell the tokens of a continuation.
            UserError: It gives no answer, or no log-probabilities of prompts.
        """
        return [(found.logprob, found.greedy) for found in self._ordered(pairs)]

    def ask_each(
        self, asked: Sequence[Prompt] | Sequence[tuple[str | None, str]]
    ) -> Iterator[tuple[int, Answer | Likelihood | BadSample]]:
        """Yield the place of each prompt or pair with its answer, as they come."""
        self._lengths, self._locks = {}, {}
        return self._server.each(self._ask, asked)

    def _ask(self, asked: Any) -> Answer | Likelihood:
        return self._answer(asked) if isinstance(asked, Prompt) else self._score(*asked)

    def _ordered(self, asked: Sequence[Any]) -> list[Any]:
        found = dict(self.ask_each(asked))
        for place in range(len(asked)):
            answer = found[place]
            if isinstance(answer, BadSample):
                raise answer
        return [found[place] for place in range(len(asked))]

    def _answer(self, prompt: Prompt) -> Answer:
        asked = self._always | {self._limit_name: self._max_tokens or prompt.max_new_tokens}
        if prompt.stop:
            asked["stop"] = list(prompt.stop[:_MOST_STOPS])
        if self._chat:
            system = [{"role": "system", "content": self._system}] if self._system else []
            asked["messages"] = [*system, {"role": "user", "content": _content(prompt)}]
            choice, tokens = self._choice("chat/completions", asked)
            message = choice.get("message")
            text = message.get("content") if isinstance(message, dict) else message
        else:
            if prompt.images:
                raise UserError(
                    "images are a part of a chat", where=f"openai:{self._model}", todo="leave chat=false out"
                )
            choice, tokens = self._choice("completions", asked | {"prompt": prompt.text})
            text = choice.get("text")
        if text is None and choice.get("finish_reason") is not None:  # it had nothing to say, or was not allowed to
            text = ""
        if not isinstance(text, str):
            raise self._unlike(f"its answer is {shown(text)}, not text")
        for stop in prompt.stop:
            text = text.partition(stop)[0]
        return Answer(text, self._cost(tokens, len(prompt.images)))

    def _score(self, context: str | None, continuation: str) -> Likelihood:
        context = context or self._start
        blanks = len(context) - len(context.rstrip())
        if blanks:
            context, continuation = context[:-blanks], context[-blanks:] + continuation
        if not context:
            return self._score_all(continuation)
        before = self._length(context)
        scored, tokens = self._echoed(context + continuation)
        if before >= tokens:
            raise BadSample(
                f"no token of the continuation {shown(continuation)} is separate from its context",
                where=f"openai:{self._model}",
                todo="end the context elsewhere",
            )
        return self._summed(scored[before:tokens], tokens)

    def _score_all(self, text: str) -> Likelihood:
        """The likelihood of a whole text, if its first token follows one that the tokenizer puts before it."""
        scored, tokens = self._echoed(text)
        first = scored[0][2]
        if tokens < 2 or (isinstance(first, str) and first and text.startswith(first)):
            raise UserError(
                "its tokenizer puts nothing before a text, so that the first token of one has no probability",
                where=f"openai:{self._model}",
                todo="say what texts begin with as start=, such as the model's end token",
            )
        return self._summed(scored[1:tokens], tokens)

    def _summed(self, scored: Sequence[tuple[Any, Any, Any]], tokens: int) -> Likelihood:
        total, greedy = 0.0, True
        for logprob, top, _ in scored:
            others = top.values() if isinstance(top, dict) else ()
            if not (_is_logprob(logprob) and others and all(map(_is_logprob, others))):
                raise self._unlike(
                    "it gives tokens of a prompt without their log-probabilities, or without the top one"
                )
            total, greedy = total + logprob, greedy and logprob >= max(others)
        return Likelihood(total, greedy, self._cost(tokens - 1, 0, len(scored)))

    def _echoed(self, text: str) -> tuple[list[tuple[Any, Any, Any]], int]:
        """The log-probability of each token of a text, the top ones of its place, and itself; how many they are."""
        asked = self._always | {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1}
        choice, tokens = self._choice("completions", asked)
        logprobs = choice.get("logprobs")
        told = logprobs if isinstance(logprobs, dict) else {}
        columns = [told.get(name) for name in ("token_logprobs", "top_logprobs")]
        whole = [column for column in columns if isinstance(column, list) and len(column) >= (tokens or 1)]
        if tokens is None or len(whole) < len(columns):
            raise UserError(
                "the server gives no log-probabilities of prompts (echo with logprobs, and usage.prompt_tokens)",
                where=f"openai:{self._model}",
                todo="choose tasks that generate, or a server that does, such as vLLM",
            )
        words = told.get("tokens")
        named = words if isinstance(words, list) and len(words) >= tokens else [None] * tokens
        return list(zip(*(column[:tokens] for column in (*whole, named)), strict=True)), tokens

    def _length(self, context: str) -> int:
        """How many tokens a context has by itself; each is asked once, and all wait for it that need it."""
        with self._locks.setdefault(context, threading.Lock()):
            if context not in self._lengths:
                _, tokens = self._choice("completions", self._always | {"prompt": context, "max_tokens": 1})
                if tokens is None:
                    raise self._unlike("it does not say how many tokens a prompt has (usage.prompt_tokens)")
                self._lengths[context] = tokens
            return self._lengths[context]

    def _choice(self, page: str, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], int | None]:
        """The first choice of a reply, and how many tokens the server read."""
        reply = self._server.post(page, asked)
        choices = reply.get("choices") if isinstance(reply, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise self._unlike(f"its reply to {page} is {shown(reply)}, without choices")
        for name, what in (("model", "answers as"), ("system_fingerprint", "fingerprint")):
            if isinstance(reply.get(name), str) and reply[name] not in ("", self._model):
                self._said.add(f"{what} {_brief(reply[name])}")
        usage = reply.get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return choices[0], tokens if isinstance(tokens, int) and tokens > 0 else None

    def _look_up(self) -> str:
        """What the server says of the model before it is asked; a wrong key shows here."""
        page = self._server.get("models")
        listed = page.get("data") if isinstance(page, dict) else None
        models = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        own = next((one for one in models if one.get("id") == self._model), None)
        if own is None:
            return "which does not list it" if models else "which does not say what it serves"
        told = ", ".join(f"{name} {_brief(own[name])}" for name in _TOLD if own.get(name))
        return f"which lists it ({told})" if told else "which lists it"

    @functools.cache  # noqa: B019 - as many entries as there are lengths of prompts
    def _flops(self, tokens: int, images: int, positions: int) -> int | None:
        from ..harness.execution import Execution
        from ..harness.measure.closed_form import COUNTED, prefill
        from ..harness.measure.work import Work

        model = self._architecture
        visual = model.visual_tokens * images if model else 0
        if model is None or model.language is None or tokens <= visual or (images and not visual):
            return None
        if images:
            work = Work.whole(model, text_tokens=tokens - visual, images=images)
            return sum(op.flops for op in work.operators(COUNTED))
        execution = Execution.full(model.language.stack, tokens)
        return sum(op.flops for op in prefill(model, execution, COUNTED, head_positions=positions))

    def _cost(self, tokens: int | None, images: int, positions: int = 1) -> PrefillCost | None:
        """The price of a prefill; of a prompt with images only if it is known how many of the tokens are visual."""
        flops = None if tokens is None else self._flops(tokens, images, positions)
        if tokens is None or (images and flops is None):
            return None
        visual = self._architecture.visual_tokens * images if self._architecture else 0
        return PrefillCost(tokens - visual, visual, flops=flops)

    def _unlike(self, what: str) -> UserError:
        return UserError(what, where=f"openai:{self._model}", todo="see whether the server speaks OpenAI's protocol")


def _content(prompt: Prompt) -> str | list[dict[str, Any]]:
    """A message: its text, or the images before it."""
    if not prompt.images:
        return prompt.text
    images = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in prompt.images]
    return [*images, {"type": "text", "text": prompt.text}]


def _data_url(image: Image) -> str:
    """An image as a PNG, which loses nothing."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _brief(told: Any) -> str:
    """What a server says of itself, in a short line."""
    return printable(" ".join(str(told).split()))[:100]


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _blueprint(architecture: str) -> Blueprint:
    from ..harness.plugins import load_plugins
    from ..harness.specs import parse_call
    from .transformers_meta import pretrained

    entries = {entry.name: entry for entry in load_plugins().registry.entries("architecture")}
    name = architecture.partition(":")[0].partition("(")[0]
    if name not in entries:
        return pretrained(architecture)
    blueprint: Blueprint = entries[name].make(**entries[name].bind(parse_call(architecture)))
    return blueprint


def _architecture(name: str) -> Architecture:
    from ..harness.measure.architecture import read_architecture

    return read_architecture(_blueprint(name).config)
