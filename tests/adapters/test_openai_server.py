"""Models behind a server that speaks OpenAI's protocol: a real one, in a thread of the test."""

from __future__ import annotations

import base64
import functools
import io
import json
import string
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
import torch
from adaptbench.adapters import server_requests
from adaptbench.adapters.openai_server import ServedModel
from adaptbench.adapters.server_requests import checked_url
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.abilities import AnswersApart, Prefilling
from adaptbench.harness.contracts import Generator, LanguageModel, Prompt
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import BadSample, MissingArgument, UserError
from adaptbench.harness.hashing import sha256_hex
from adaptbench.harness.plugins import load_plugins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "sk-a-key-that-nobody-may-see"
Reply = tuple[int, dict[str, str], Any]


def says(text: Any, **more: Any) -> Reply:
    message = {"role": "assistant", "content": text}
    return 200, {}, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}


def shout(body: dict[str, Any]) -> Reply:
    """The tiny model: it says in capitals what it is asked."""
    content = body["messages"][-1]["content"]
    return says((content if isinstance(content, str) else content[-1]["text"]).upper())


@dataclass
class Local:
    """A server.

    Attributes:
        model: What answers completions: the body -> status, headers and what is sent.
        before: Replies that are given before ``model`` is asked; ``None`` hangs up.
        asked: (page, body, headers) of each completion that was asked for.
        dead: Hang up on everybody.
        most: Of completions at once.
    """

    model: Callable[[dict[str, Any]], Reply] = shout
    before: list[Reply | None] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    models: Reply = (200, {}, {"data": [{"id": "tiny", "owned_by": "us", "max_model_len": 256, "created": 1}]})
    dead: bool = False
    most: int = 0
    now: int = 0
    url: str = ""
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, page: str, body: dict[str, Any], headers: dict[str, str]) -> Reply | None:
        with self.lock:
            self.asked.append((page, body, headers))
            self.now += 1
            self.most = max(self.most, self.now)
            ready = self.before.pop(0) if self.before else self.model
        try:
            return None if self.dead else ready(body) if callable(ready) else ready
        finally:
            with self.lock:
                self.now -= 1

    @property
    def texts(self) -> list[str]:
        """The prompts that it was asked, in the order of their words."""
        return sorted(body["messages"][-1]["content"] for _, body, _ in self.asked)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    local = Local()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(None if local.dead else local.models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(local.answer(self.path.removeprefix("/v1/"), body, dict(self.headers)))

        def send(self, reply: Reply | None) -> None:
            if reply is None:
                self.close_connection = True
                return
            status, headers, value = reply
            self.close_connection = "Content-Length" in headers  # which is not the true one
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, header in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, header)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(server_requests, "FIRST_WAIT", 0.001)
    running = Quiet(("127.0.0.1", 0), Handler)
    local.url = f"http://127.0.0.1:{running.server_port}/v1"
    threading.Thread(target=functools.partial(running.serve_forever, 0.01), daemon=True).start()
    yield local
    running.shutdown()
    running.server_close()


@pytest.fixture
def served(server: Local) -> Callable[..., ServedModel]:
    return lambda **options: ServedModel("tiny", **{"url": server.url, "retries": 2, **options})


def prompts(*texts: str, **fields: Any) -> list[Prompt]:
    return [Prompt(text, **fields) for text in texts]


def test_answers_are_in_the_order_of_prompts_whichever_comes_first(server, served):
    def slow(body):
        time.sleep(0.02 * (5 - int(body["messages"][-1]["content"]) % 5))
        return shout(body)

    server.model = slow
    model = served(concurrency=4)
    for kind in (Generator, LanguageModel, AnswersApart):
        assert isinstance(model, kind)
    assert not isinstance(model, Prefilling)  # nothing of it is timed
    assert model.generate(prompts(*map(str, range(12)))) == [str(n) for n in range(12)]
    assert server.most == 4
    server.most = 0
    assert served(concurrency=1).generate(prompts("3", "2", "1")) == ["3", "2", "1"]
    assert server.most == 1


def test_what_decides_an_answer_is_asked_for(server, served):
    [prompt] = prompts("go on", max_new_tokens=7, stop=("ON", "5", "6", "7", "O"))
    assert served(system="Be brief.").generate([prompt]) == ["G"]
    page, body, headers = server.asked[-1]
    assert page == "chat/completions"
    assert body == {
        "model": "tiny", "temperature": 0.0, "seed": 0, "max_tokens": 7, "stop": ["ON", "5", "6", "7"],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "go on"}],
    }  # fmt: skip
    assert "Authorization" not in headers
    server.before = [(200, {}, {"choices": [{"text": " and on"}]})]
    options = {"temperature": None, "seed": None, "max_tokens": 9, "limit_name": "max_completion_tokens"}
    assert served(chat=False, **options).generate(prompts("go")) == [" and on"]
    assert server.asked[-1][:2] == ("completions", {"model": "tiny", "max_completion_tokens": 9, "prompt": "go"})


def test_images_come_first_as_png(server, served):
    images = tuple(Image.new("RGB", (3, 2), colour) for colour in ("red", "blue"))
    assert served().generate([Prompt("what?", images)]) == ["WHAT?"]
    *shown, text = server.asked[-1][1]["messages"][0]["content"]
    assert text == {"type": "text", "text": "what?"}
    for part, image in zip(shown, images, strict=True):
        kind, data = part["image_url"]["url"].split(",")
        assert kind == "data:image/png;base64"
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (decoded.format, decoded.tobytes()) == ("PNG", image.tobytes())
    with pytest.raises(UserError, match="images are a part of a chat"):
        served(chat=False).generate([Prompt("what?", images)])


def test_a_server_that_asks_to_wait_is_waited_for(server, served):
    server.before = [(429, {"Retry-After": "1"}, {"error": {"message": "slow down"}})]
    model, started = served(), time.monotonic()
    assert model.generate(prompts("a", "b")) == ["A", "B"]
    assert 1 <= time.monotonic() - started < 5
    assert len(server.asked) == 3
    server.before = [(503, {"Retry-After": "7200"}, b"")]
    with pytest.raises(UserError, match="it asks to wait 7200 s: status 503; run the same command again after that"):
        model.generate(prompts("a"))
    server.before = [(429, {}, {"error": {"message": "no money", "code": "insufficient_quota"}})]
    with pytest.raises(UserError, match="status 429: no money"):
        model.generate(prompts("a"))
    assert len(server.asked) == 5


def test_what_may_pass_is_tried_again_until_it_is_given_up(server, served):
    torn = (200, {"Content-Length": "1000"}, b'{"choices"')
    server.before = [(500, {}, {"error": "oops"}), None, torn, (502, {}, b"<html>bad\ngateway</html>")]
    assert served(retries=4).generate(prompts("a")) == ["A"]
    assert len(server.asked) == 5
    server.before = [(500, {}, {"detail": "broken"})] * 9
    with pytest.raises(UserError, match="no answer in 3 attempts, the last time: status 500: broken; see whether"):
        served(concurrency=1).generate(prompts("a", "b"))
    assert len(server.asked) == 8  # b is not asked
    server.dead = True
    with pytest.raises(UserError, match="no answer in one attempt"):
        served(retries=0)


def test_requests_a_minute_are_kept_to(server, served):
    model, started = served(per_minute=1200), time.monotonic()  # which asks for the list of models first
    model.generate(prompts(*"abcd"))
    assert time.monotonic() - started >= 3 * 0.05
    for limit in ({"concurrency": 0}, {"retries": -1}, {"per_minute": 0}, {"timeout": 0}):
        with pytest.raises(UserError, match=f"{next(iter(limit))} is "):
            served(**limit)


@pytest.mark.parametrize(
    ("status", "told", "message"),
    [
        (404, {"message": "no model 'tiny'"}, "status 404: no model 'tiny'; check the name of the model"),
        (400, {"error": {"message": "max_tokens: no"}}, "refuses the request: status 400: max_tokens: no"),
        (307, b"", "it sends elsewhere: status 307"),
        (418, {"error": {"message": {"deep": [1]}}}, r"status 418"),
    ],
)
def test_a_refusal_is_one_line(server, served, status, told, message):
    server.before = [(status, {}, told)]
    with pytest.raises(UserError, match=message) as raised:
        served().generate(prompts("a"))
    assert "\n" not in str(raised.value)
    assert len(server.asked) == 1


def test_a_key_is_shown_to_nobody_but_the_server(server, served, monkeypatch, tmp_path):
    wants = (401, {}, {"error": {"message": "a key is missing"}})
    server.before = [wants]
    with pytest.raises(UserError, match=r"it wants a key: .* set the environment variable OTHER_KEY"):
        served(key="OTHER_KEY").generate(prompts("a"))
    monkeypatch.setenv("OTHER_KEY", KEY)
    server.before = [(401, {}, {"error": {"message": f"wrong key {KEY}"}})]
    with pytest.raises(UserError, match=r"it refuses the key: status 401: wrong key \*\*\*; set the") as raised:
        served(key="OTHER_KEY").generate(prompts("a"))
    assert server.asked[-1][2]["Authorization"] == f"Bearer {KEY}"
    server.models = wants
    with pytest.raises(UserError, match="it refuses the key"):
        served(key="OTHER_KEY")

    server.models, server.model = (404, {}, b""), lambda _: says(f"your key is {KEY}")
    spec = f"openai:tiny(url={server.url},key=OTHER_KEY)"
    adaptbench.run(spec, "questions", plugins=[plugin], out=tmp_path / "run")
    assert all(KEY.encode() not in path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert len(server.asked) == 2 + len(WORDS)

    monkeypatch.setenv("OTHER_KEY", f"{KEY}\nsecond line")
    with pytest.raises(UserError, match="environment variable OTHER_KEY: it holds what no key has") as raised:
        served(key="OTHER_KEY")
    assert KEY not in str(raised.value)


def test_a_url_is_a_place_and_no_more():
    assert checked_url("https://host:8000/v1/") == "https://host:8000/v1"
    for url in ("", "host/v1", "ftp://host", "http://", "http://host:99999/v1", "http://ho st/v1", "http://[::1/v1"):
        with pytest.raises(UserError, match="url is "):
            checked_url(url)
    for url in (f"https://user:{KEY}@host/v1", f"https://host/v1?key={KEY}", f"https://host/v1#{KEY}"):
        with pytest.raises(UserError, match="url holds more than a place") as raised:
            checked_url(url)
        assert KEY not in str(raised.value)


WORDS = [f"word {n}" for n in range(10)]


class Questions(adaptbench.Task):
    card = adaptbench.TaskCard(summary="Say it in capitals", capability="generate")
    inputs = tuple(adaptbench.Input(sha256_hex(text.encode()), functools.partial(Prompt, text)) for text in WORDS)
    samples = tuple(adaptbench.Sample(text, [n], target=text.upper()) for n, text in enumerate(WORDS))


class plugin:
    @adaptbench.hookimpl
    @staticmethod
    def register(registry: Any) -> None:
        registry.task("questions", Questions, card=Questions.card)


def records(folder: Path) -> bytes:
    [path] = folder.glob("cells/*/records.jsonl")
    assert {other.name for other in path.parent.iterdir()} == {".lock", "records.jsonl", "result.json"}
    return path.read_bytes()


def run(server: Local, out: Path, **options: Any) -> adaptbench.RunResult:
    spec = f"openai:tiny(concurrency=2,retries=1,url={server.url})"
    return adaptbench.run(spec, "questions", plugins=[plugin], out=out, batch_size=4, **options)


def test_a_server_that_dies_in_mid_run_is_asked_nothing_twice(server, tmp_path):
    [result] = run(server, tmp_path / "whole").results
    assert result.metrics["accuracy"].value == 1
    assert result.flops is None
    assert result.flops_missing == "not counted: a server runs it; architecture= prices it"
    assert result.notes == (f"answered by a server, {server.url}, which lists it (owned_by us, max_model_len 256)",)
    assert server.texts == WORDS
    server.asked.clear()

    def dying(body):
        with server.lock:
            server.dead = server.dead or len(answered) == 6
            if not server.dead:
                answered.append(body["messages"][-1]["content"])
        return None if server.dead else shout(body)

    answered: list[str] = []
    server.model = dying
    with pytest.raises(UserError, match="no answer in 2 attempts"):
        run(server, tmp_path / "cut")
    assert len(answered) == 6  # a chunk of four is recorded, and half of another one is kept
    with pytest.raises(UserError, match="no answer in 2 attempts"):  # while it is dead, it is not asked for them
        run(server, tmp_path / "cut")
    server.dead, server.model = False, shout
    server.asked.clear()
    run(server, tmp_path / "cut")
    assert server.texts == sorted(set(WORDS) - set(answered))
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_a_prompt_that_is_refused_leaves_the_others_be(server, tmp_path):
    told = {"error": {"message": "This model's maximum context length is 9 tokens", "code": None}}
    server.model = lambda body: (400, {}, told) if "7" in str(body["messages"]) else shout(body)
    run(server, tmp_path / "run")
    assert server.texts == WORDS
    rows = [json.loads(line) for line in records(tmp_path / "run").splitlines()]
    assert [row["sample"] for row in rows if row["fault"]] == ["word 7"]
    assert "maximum context length" in rows[7]["fault"]
    assert rows[6]["output"] == "WORD 6"


def test_hostile_words_are_recorded_as_they_are(server, tmp_path):
    hostile = "<script>alert(1)</script>\x00\x1b[2J\ud800\u202e\n'; DROP TABLE"
    server.model = lambda _: says(hostile, model="\x1b[2Jother", system_fingerprint="fp\n1")
    [result] = run(server, tmp_path / "run").results
    assert {json.loads(line)["output"] for line in records(tmp_path / "run").splitlines()} == {hostile}
    assert result.notes[0].endswith(r"answers as \u001b[2Jother; fingerprint fp 1")
    server.model = lambda _: (400, {}, {"error": {"message": "\x1b[2J\ud800 no\n" * 99}})
    with pytest.raises(UserError) as raised:
        run(server, tmp_path / "other")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("reply", [b"{", b"\xff", b"[]", b"NaN", b'{"choices": [{"message": 3}]}', b"[" * 9999])
def test_a_reply_that_is_not_one_fails_its_cell(server, tmp_path, reply):
    server.model = lambda _: (200, {}, reply)
    with pytest.raises(UserError, match="questions"):
        run(server, tmp_path / "run")


NAMES = st.sampled_from(
    ["choices", "message", "content", "text", "usage", "prompt_tokens", "logprobs", "token_logprobs", "top_logprobs"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reply=JSON, choice=st.dictionaries(NAMES, JSON, max_size=4), tokens=st.integers(0, 4))
def test_any_reply_is_an_answer_or_one_line(served, monkeypatch, reply, choice, tokens):
    model = served()
    for told in (reply, {"choices": [choice], "usage": {"prompt_tokens": tokens}}):
        monkeypatch.setattr(model._server, "post", lambda *_, told=told: told)
        for ask in (lambda: model.generate(prompts("a")), lambda: model.loglikelihood([("a", "b")])):
            try:
                [answer] = ask()
            except UserError:
                continue
            assert isinstance(answer, str) or (isinstance(answer[0], float) and isinstance(answer[1], bool))


class Checkpoint:
    """A language model as vLLM serves it: it echoes prompts with their log-probabilities."""

    def __init__(self, folder: Path) -> None:
        self.model, self._lock = HFCausalLM(str(folder)), threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Reply:
        with self._lock, torch.inference_mode():
            tokenizer = self.model._loaded.tokenizer
            ids = tokenizer(body["prompt"]).input_ids
            [text] = self.model.generate([Prompt(body["prompt"], max_new_tokens=body["max_tokens"])])
            choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "length"}
            if body.get("echo"):
                said = self.model.module(torch.tensor([ids])).logits[0].float().log_softmax(-1)
                own = [None, *said[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()]
                best = [None, *({"best": row.max().item()} for row in said[:-1])]
                words = [*map(tokenizer.decode, ids), text]  # and the token that it was asked to add
                columns = {"tokens": words, "token_logprobs": [*own, -1.0], "top_logprobs": [*best, {"x": -1.0}]}
                choice |= {"text": body["prompt"] + text, "logprobs": columns}
            return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": len(ids)}}


PAIRS = [
    ("the sun is", " hot"), ("the sun is", " cold"), ("a  ", "b"), ("é ü", " ñ"), ("", "the sun"), (None, "the sun"),
]  # fmt: skip


def test_likelihoods_and_answers_are_those_of_the_checkpoint_that_is_served(server, served, language):
    folder = language("llama")
    server.model = Checkpoint(folder)
    own = server.model.model
    model = served(chat=False, start="</s>", architecture=str(folder))
    found, wanted = dict(model.ask_each(PAIRS)), own.likelihoods(PAIRS)
    for place, one in enumerate(wanted):
        assert found[place].logprob == pytest.approx(one.logprob, rel=1e-5)
        assert (found[place].greedy, found[place].cost) == (one.greedy, one.cost)
    assert model.loglikelihood(PAIRS[:1]) == [(found[0].logprob, found[0].greedy)]
    contexts = [body["prompt"] for _, body, _ in server.asked if "echo" not in body]
    assert sorted(contexts[:4]) == ["</s>", "a", "the sun is", "é ü"]  # each once, whatever needs it
    said = ((letter, own.generate([Prompt(letter, max_new_tokens=1)])[0]) for letter in string.ascii_letters)
    letter, greedy = next((letter, text) for letter, text in said if text.isascii() and text.isalnum())
    assert model.loglikelihood([(letter, greedy)])[0][1]

    asked = prompts("the sun is", "a b c d", max_new_tokens=4)
    assert model.generate(asked) == own.generate(asked)
    priced = dict(model.ask_each(asked))
    assert [priced[place].cost for place in range(2)] == [answer.cost for answer in own.answer(asked)]
    assert "priced from the architecture" in model.notes[1]
    assert model.convention["counter"] == "priced"


def test_what_a_server_does_not_tell_is_named(server, served, language):
    echoes = Checkpoint(language("llama"))
    server.model = echoes
    with pytest.raises(UserError, match=r"puts nothing before a text.*as start="):
        served().loglikelihood([("", "the sun")])
    with pytest.raises(BadSample, match="no token of the continuation"):
        served().loglikelihood([("the sun", "")])
    without = {"choices": [{"text": "x", "logprobs": None}], "usage": {"prompt_tokens": 3}}
    server.model = lambda _: (200, {}, without)
    with pytest.raises(UserError, match="the server gives no log-probabilities of prompts"):
        served().loglikelihood([("the", " sun")])
    server.model = lambda body: (404, {}, {"error": "not found"}) if "echo" in body else echoes(body)
    with pytest.raises(UserError, match="status 404: not found"):
        served().loglikelihood([("the", " sun")])


def test_an_architecture_is_priced_as_itself(server):
    registry, request = load_plugins().registry, CostRequest(64)
    named = Costing(registry, f"openai:tiny(architecture=llama-2-7b,url={server.url})").cost(request)
    assert named.flops == Costing(registry, "llama-2-7b").cost(request).flops
    with pytest.raises(MissingArgument, match="is not said; add architecture="):
        Costing(registry, "openai:tiny")
    assert server.asked == []  # to price is not to ask


def test_images_are_priced_where_the_shape_tells_their_tokens(server, served):
    server.model = lambda body: says("yes", usage={"prompt_tokens": 600 if "image_url" in str(body) else 20})
    asked = [Prompt("what?", (Image.new("RGB", (9, 9)),)), Prompt("what?")]
    model = served(architecture="llava-1.5-7b")
    answers = dict(model.ask_each(asked))
    whole = Costing(load_plugins().registry, "llava-1.5-7b")
    wanted = whole.counted(whole.cost(CostRequest(24)).work)
    assert (answers[0].cost.text_tokens, answers[0].cost.visual_tokens) == (24, 576)
    assert answers[0].cost.flops == sum(wanted.values())
    assert answers[1].cost.tokens == 20
    unknown = dict(served().ask_each(asked))
    assert (unknown[0].cost, unknown[1].cost.flops) == (None, None)
