"""A language model as a judge, behind any endpoint that speaks OpenAI's chat protocol.

The environment says where it is: ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``, as for OpenAI's own client. The key is
read when it is needed, sent to that address alone, and written nowhere.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...harness.errors import UserError
from ...harness.hashing import canonical_json, sha256_hex
from ...harness.texts import utf8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.contracts import Json

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_DEFAULT_BASE = "https://api.openai.com/v1"
_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses that say "later"."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the judge is asked.

    Attributes:
        messages: The conversation, as the protocol has it.
        temperature: Of the sampling.
        max_tokens: Of the verdict.
        turn: Number of this among equal questions; each is asked by itself.
    """

    messages: Sequence[Mapping[str, str]]
    temperature: float
    max_tokens: int
    turn: int = 0


class Judge:
    """Asks a judge, and never the same thing twice.

    Args:
        model: Name of the judge, such as ``gpt-4-0613``.
        cache: File of JSON lines to which every verdict is added, and from which it is taken when it is asked for
            again.
        attempts: How often a question is put while the endpoint is busy or does not answer.
        wait: Seconds before the second attempt; they double with each further one, up to a minute.
        timeout: Seconds after which an attempt counts as not answered.
    """

    def __init__(
        self, model: str, cache: str | Path, *, attempts: int = 8, wait: float = 1.0, timeout: float = 120.0
    ) -> None:
        self.model, self._path = model, Path(cache).expanduser()
        self._attempts, self._wait, self._timeout = attempts, wait, timeout
        self._known: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Judge({self.model!r})"

    def ask(self, question: Asked) -> str:
        """Return the verdict.

        Raises:
            UserError: The endpoint refuses, cannot be reached, or says something else than a verdict.
        """
        known = self._known if self._known is not None else self._read()
        self._known = known
        body = {
            "model": self.model,
            "messages": list(question.messages),
            "temperature": question.temperature,
            "max_tokens": question.max_tokens,
        }
        key = sha256_hex(canonical_json([body, question.turn]))
        if key not in known:
            known[key] = self._asked(body)
            self._append({"key": key, "model": self.model, "verdict": known[key]})
        return known[key]

    def _asked(self, body: Json) -> str:
        base = os.environ.get(BASE_URL, "") or _DEFAULT_BASE
        place = urlsplit(base)
        if place.scheme not in ("http", "https") or not place.hostname or place.username or place.password:
            raise UserError("not an address http(s)://host", where=BASE_URL, todo="set it to the judge's address")
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(API_KEY, ""):
            headers["Authorization"] = f"Bearer {key}"
        url = f"{base.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the scheme is checked
        where = f"judge {self.model} at {place.hostname}"
        return _verdict(self._sent(request, where), where)

    def _sent(self, request: urllib.request.Request, where: str) -> bytes:
        """Send it until it is answered. Nothing of a failed answer's text is shown: it may repeat the key."""
        trouble = ""
        for attempt in range(self._attempts):
            pause = min(60.0, self._wait * 2**attempt)
            try:
                with _OPENER.open(request, timeout=self._timeout) as reply:
                    content: bytes = reply.read()
                    return content
            except urllib.error.HTTPError as error:
                error.close()
                trouble = f"it answered with status {error.code}"
                if error.code not in _AGAIN:
                    todo = f"check {API_KEY}" if error.code in (401, 403) else f"check {BASE_URL} and the judge's name"
                    raise UserError(trouble, where=where, todo=todo) from None
                pause = _retry_after(error, pause)
            except (OSError, http.client.HTTPException) as error:
                trouble = f"it does not answer ({type(error).__name__})"
            except ValueError:  # a key with a line end in it: http.client would show the key
                raise UserError("it cannot be sent in a header", where=API_KEY, todo="set it again") from None
            if attempt + 1 < self._attempts:
                time.sleep(pause)
        raise UserError(f"{trouble}, {self._attempts} times", where=where, todo="try again later")

    def _read(self) -> dict[str, str]:
        """The verdicts in the cache. A line that a killed run left unfinished is asked for again."""
        known = {}
        try:
            content = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise UserError(
                f"cannot read the judge's verdicts: {error.strerror}", where=str(self._path), todo="check the path"
            ) from error
        for line in content.split(b"\n"):
            try:
                row = json.loads(line)
                known[str(row["key"])] = str(row["verdict"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return known

    def _append(self, row: Json) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as stream:
                # The line feed in front closes a line that a killed run left unfinished.
                stream.write(b"\n" + utf8(json.dumps(row, ensure_ascii=False)) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise UserError(
                f"cannot keep the judge's verdict: {error.strerror}", where=str(self._path), todo="check the path"
            ) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that sends us elsewhere gets no second request: the key would go with it."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: the redirection is an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _retry_after(error: urllib.error.HTTPError, pause: float) -> float:
    try:
        return min(60.0, max(0.0, float(error.headers.get("Retry-After", ""))))
    except ValueError:
        return pause


def _verdict(content: bytes, where: str) -> str:
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        text = None
    if not isinstance(text, str):
        raise UserError("its answer holds no verdict", where=where, todo=f"check {BASE_URL}")
    return text
