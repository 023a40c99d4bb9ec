"""Requests to an OpenAI-compatible server: a secret key, limits, retries, and one line for what goes wrong."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import urllib.request
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from ..harness.errors import BadSample, UserError
from ..harness.reading import json_value
from ..harness.texts import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

FIRST_WAIT = 1.0
"""Seconds before the first further attempt, if the server names none; before each next one twice as many."""
_LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait; if it asks for more, it is asked no further."""
_LONGEST_REPLY = 1 << 26
"""Bytes of a reply."""
_LONGEST_WORDS = 300
"""Characters of what a server says in a message."""
_SECRET = 8
"""Characters from which on a key is one, and no placeholder such as ``EMPTY``."""
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""What a server says that may answer the same request later."""
_BUSY = frozenset({429, 503, 529})
"""What it says if there are too many requests."""
_ABSENT = frozenset({404, 405, 501})
"""What it says of a page that it does not have."""
_NEVER = ("insufficient_quota", "billing")
"""In the codes of those of them that stay."""
_OF_PROMPT = re.compile(r"content[_ ](filter|policy|management)|context[_ ](length|size|window)", re.IGNORECASE)
"""In what a server says of one prompt: it is too long, or is not to be answered."""


class Limits(NamedTuple):
    """How much is asked of a server.

    Attributes:
        concurrency: Requests at once.
        per_minute: Requests that begin in a minute, retries among them; ``None`` for any number.
        retries: Further attempts at a request that failed.
        timeout: Seconds without a byte of the reply after which a request has failed.
    """

    concurrency: int
    per_minute: float | None
    retries: int
    timeout: float

    def check(self, where: str) -> None:
        """Refuse limits under which nothing could be asked."""
        least = {"concurrency": 1, "retries": 0}
        for name, value in self._asdict().items():
            if value is not None and (value < least[name] if name in least else value <= 0):
                todo = f"give {least[name]} or more" if name in least else "give more than 0"
                raise UserError(f"{name} is {value}", where=where, todo=todo)


class _Reply(NamedTuple):
    status: int
    text: str
    wait: float | None
    """Seconds that the server asks to wait before the next request."""


class Server:
    """An OpenAI-compatible server.

    Args:
        url: Up to ``/v1``.
        variable: Environment variable that holds the key; it may be unset, for servers that want none.
        limits: What is asked of it.

    Attributes:
        url: As given, without a slash at its end.

    Raises:
        UserError: The URL, the key or a limit cannot be used, or urllib3 is not installed.
    """

    def __init__(self, url: str, variable: str, limits: Limits) -> None:
        self.url, self._variable, self._limits = checked_url(url), variable, limits
        limits.check(self.url)
        self._key = _key(variable)
        self._pace = _Pace(limits.per_minute)
        self._pool = _pool(self.url, limits)

    def get(self, page: str) -> Any:
        """Return the value of a page, or ``None`` if the server has no such page.

        Raises:
            UserError: There is no answer, or it is something else.
        """
        return self._ask("GET", page, None, absent=_ABSENT)

    def post(self, page: str, asked: Mapping[str, Any]) -> Any:
        """Return what the server answers, JSON of any form.

        Raises:
            BadSample: It refuses the prompt, such as one that is too long.
            UserError: It refuses every such request, or there is no answer after all attempts.
        """
        return self._ask("POST", page, json.dumps(asked).encode())

    def each(
        self, ask: Callable[[_Item], _Answer], items: Sequence[_Item]
    ) -> Iterator[tuple[int, _Answer | BadSample]]:
        """Yield the place of each item with what ``ask`` makes of it, as they come, several at once.

        After the first exception that is no `BadSample` nothing more is asked; it is raised once all that was asked is
        answered.
        """
        places, failed = deque(range(len(items))), list[BaseException]()
        done: SimpleQueue[tuple[int, _Answer | BadSample] | None] = SimpleQueue()

        def work() -> None:
            while not failed:
                try:
                    place = places.popleft()
                except IndexError:
                    break
                try:
                    done.put((place, ask(items[place])))
                except BadSample as error:
                    done.put((place, error))
                except BaseException as error:  # noqa: BLE001 - raised below
                    failed.append(error)
            done.put(None)

        # Daemons, so that Ctrl-C does not wait for a server.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self._limits.concurrency, len(items)))]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                while (found := done.get()) is not None:
                    yield found
        finally:
            places.clear()
        if failed:
            raise failed[0]

    def _ask(self, method: str, page: str, body: bytes | None, absent: frozenset[int] = frozenset()) -> Any:
        from urllib3.exceptions import HTTPError, SSLError

        why = ""
        for attempt in range(self._limits.retries + 1):
            self._pace.wait()
            try:
                reply = self._once(method, page, body)
            except SSLError as error:
                raise self._error(f"cannot trust it: {error}", "check its certificate") from error
            except HTTPError as error:
                reply, why = _Reply(0, "", None), self._shown(str(error))
            if reply.status == 200:
                return json_value(reply.text, f"{self.url}/{page}", "ask the server's keeper", finite=True)
            if reply.status in absent:
                return None
            if reply.status:
                why = self._words(reply)
                if reply.status not in _AGAIN or any(word in reply.text for word in _NEVER):
                    raise self._refusal(reply.status, why)
            if (reply.wait or 0) > _LONGEST_WAIT:
                raise self._error(f"it asks to wait {reply.wait:.0f} s: {why}", "run the same command again after that")
            if attempt < self._limits.retries:
                usual = FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - not all at the same time
                self._pace.pause(usual if reply.wait is None else reply.wait, everybody=reply.status in _BUSY)
        attempts = f"{self._limits.retries + 1} attempts" if self._limits.retries else "one attempt"
        raise self._error(
            f"no answer in {attempts}, the last time: {why}",
            "see whether the server runs, and run the same command again: what was answered is kept",
        )

    def _once(self, method: str, page: str, body: bytes | None) -> _Reply:
        """Ask once.

        Raises:
            urllib3.exceptions.HTTPError: There is no whole reply.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "adaptbench"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        reply = self._pool.request(
            method, f"{self.url}/{page}", body=body, headers=headers, redirect=False, preload_content=False
        )
        try:
            data = reply.read(_LONGEST_REPLY + 1, decode_content=True)
            wait = _seconds(reply.headers.get("Retry-After"))
        except BaseException:
            reply.close()
            raise
        if len(data) > _LONGEST_REPLY:
            reply.close()
            raise self._error(f"its reply is longer than {_LONGEST_REPLY >> 20} MiB", "ask the server's keeper")
        reply.release_conn()
        return _Reply(reply.status, self._without_key(data.decode("utf-8", "replace")), wait)

    def _refusal(self, status: int, why: str) -> UserError:
        """What to make of a request that the server will never answer."""
        if status in (400, 413, 422) and _OF_PROMPT.search(why):
            return BadSample(f"the server refuses the prompt: {why}", where=self.url, todo="leave it out")
        if status in (401, 403):
            if self._key:
                return self._error(f"it refuses the key: {why}", f"set the environment variable {self._variable} anew")
            return self._error(f"it wants a key: {why}", f"set the environment variable {self._variable}")
        if status in _ABSENT:
            return self._error(why, "check the name of the model, and that url= ends where its documentation says")
        if 300 <= status < 400:
            return self._error(f"it sends elsewhere: {why}", "give the URL that it sends to as url=")
        return self._error(f"it refuses the request: {why}", "change what it names")

    def _error(self, what: str, todo: str) -> UserError:
        return UserError(self._without_key(what), where=self.url, todo=todo)

    def _words(self, reply: _Reply) -> str:
        """The status, and what the server says about it, wherever it says so."""
        try:
            told = json.loads(reply.text)
        except (ValueError, RecursionError):
            told = reply.text
        while isinstance(told, dict):
            told = next((told[name] for name in ("error", "message", "detail") if told.get(name)), "")
        said = self._shown(told if isinstance(told, str) else json.dumps(told))
        return f"status {reply.status}: {said}" if said else f"status {reply.status}"

    def _shown(self, words: str) -> str:
        """A stranger's words in one short line."""
        return printable(" ".join(self._without_key(words).split()))[:_LONGEST_WORDS]

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= _SECRET else text


class _Pace:
    """When the next request may start, for all threads."""

    def __init__(self, per_minute: float | None) -> None:
        self._between = 60 / per_minute if per_minute else 0.0
        self._turn, self._free, self._pausing = threading.Lock(), threading.Condition(), 0

    def wait(self) -> None:
        """Return when it is this thread's turn."""
        with self._free:
            self._free.wait_for(lambda: not self._pausing)
        if self._between:
            with self._turn:
                time.sleep(self._between)

    def pause(self, seconds: float, *, everybody: bool) -> None:
        """Wait; if for ``everybody``, no thread starts a request meanwhile."""
        with self._free:
            self._pausing += everybody
        try:
            time.sleep(seconds)
        finally:
            with self._free:
                self._pausing -= everybody
                self._free.notify_all()


def checked_url(url: str) -> str:
    """Return the URL of a server, without a slash at its end.

    Raises:
        UserError: It is not one, or holds what is not to be recorded.
    """
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or not url.isprintable() or " " in url:
        shown = printable(url.rpartition("@")[2])[:100]
        raise UserError(f"url is {shown!r}", todo="give one such as http://localhost:8000/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise UserError(
            "url holds more than a place, and what a model is called is recorded",
            where=f"{parts.scheme}://{parts.hostname}",
            todo="leave out what comes before @ and after ?, and put the key into the environment",
        )
    return url.rstrip("/")


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise UserError("it holds what no key has, such as a blank", where=f"environment variable {variable}")
    return key


def _pool(url: str, limits: Limits) -> Any:
    """What keeps connections open, through the proxy that the environment names for this server, if any."""
    try:
        import urllib3
    except ImportError as error:
        raise UserError(f"cannot import urllib3: {error}", todo="pip install 'adaptbench[server]'") from error
    parts = urlsplit(url)
    proxy = None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
    timeout = urllib3.Timeout(connect=min(30.0, limits.timeout), read=limits.timeout)
    options: dict[str, Any] = {"maxsize": limits.concurrency, "retries": False, "timeout": timeout}
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _seconds(header: str | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date; ``None`` if it is missing or is neither."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return None if header is None else float(Retry().parse_retry_after(header))
    except (InvalidHeader, ValueError, OverflowError):
        return None
