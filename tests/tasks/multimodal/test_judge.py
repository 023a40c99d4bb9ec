"""The judge's client, against a server of our own."""

import http.server
import json
import threading
import traceback

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal.judge import Asked, Judge

KEY = "sk-very-secret-0123456789"
ASKED = Asked([{"role": "user", "content": "how good?"}], 0.0, 3)


class Endpoint:
    """Answers with what ``replies`` says next: (status, body, headers); remembers what it was asked."""

    def __init__(self):
        self.replies, self.requests = [], []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append((self.path, dict(self.headers), body))
                status, reply, headers = endpoint.replies.pop(0) if endpoint.replies else (200, said("0.5"), {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


def said(text):
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture
def endpoint(monkeypatch):
    server = Endpoint()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def judge(tmp_path):
    return Judge("gpt-test", tmp_path / "cache" / "verdicts.jsonl", attempts=4, wait=0.001)


def test_a_question_is_put_as_the_protocol_says(endpoint, judge):
    endpoint.replies = [(200, said("0.7"), {})]
    assert judge.ask(ASKED) == "0.7"
    [(path, headers, body)] = endpoint.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"model": "gpt-test", "messages": ASKED.messages, "temperature": 0.0, "max_tokens": 3}


def test_nothing_is_asked_twice_even_by_another_process(endpoint, judge, tmp_path):
    endpoint.replies = [(200, said("0.1\nsaid so – yes"), {}), (200, said("0.2"), {})]
    again = Asked(ASKED.messages, 0.0, 3, turn=1)
    assert [judge.ask(ASKED), judge.ask(again), judge.ask(ASKED)] == ["0.1\nsaid so – yes", "0.2", "0.1\nsaid so – yes"]
    other = Judge("gpt-test", tmp_path / "cache" / "verdicts.jsonl")
    assert [other.ask(ASKED), other.ask(again)] == ["0.1\nsaid so – yes", "0.2"]
    assert len(endpoint.requests) == 2
    Judge("gpt-other", tmp_path / "cache" / "verdicts.jsonl").ask(ASKED)
    assert len(endpoint.requests) == 3, "another judge's verdict is another verdict"


def test_a_cache_that_a_killed_run_left_unfinished_is_used_as_far_as_it_goes(endpoint, judge, tmp_path):
    judge.ask(ASKED)
    path = tmp_path / "cache" / "verdicts.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "ab')
    later = Judge("gpt-test", path)
    later.ask(Asked(ASKED.messages, 1.0, 3))
    assert len(endpoint.requests) == 2
    assert [Judge("gpt-test", path).ask(q) for q in (ASKED, Asked(ASKED.messages, 1.0, 3))] == ["0.5", "0.5"]
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(endpoint, judge, status):
    endpoint.replies = [(status, b"{}", {}), (status, b"{}", {"Retry-After": "0"}), (200, said("1.0"), {})]
    assert judge.ask(ASKED) == "1.0"
    assert len(endpoint.requests) == 3


def test_an_endpoint_that_stays_busy_is_given_up(endpoint, judge):
    endpoint.replies = [(503, b"", {})] * 9
    with pytest.raises(UserError, match=r"gpt-test at 127.0.0.1: it answered with status 503, 4 times; try again"):
        judge.ask(ASKED)
    assert len(endpoint.requests) == 4


def test_an_endpoint_that_is_not_there_is_given_up(endpoint, judge, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match=r"it does not answer .*, 4 times"):
        judge.ask(ASKED)


def test_an_endpoint_that_never_answers_is_given_up(monkeypatch, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        judge = Judge("gpt-test", tmp_path / "verdicts.jsonl", attempts=2, wait=0.001, timeout=0.1)
        with pytest.raises(UserError, match="does not answer"):
            judge.ask(ASKED)


@pytest.mark.parametrize(("status", "todo"), [(401, "check OPENAI_API_KEY"), (404, "check OPENAI_BASE_URL")])
def test_the_key_is_never_shown(endpoint, judge, tmp_path, caplog, capfd, status, todo):
    endpoint.replies = [(status, f"Incorrect API key provided: {KEY}".encode(), {})]
    with pytest.raises(UserError, match=todo) as caught:
        judge.ask(ASKED)
    assert len(endpoint.requests) == 1
    judge.ask(ASKED)
    shown = "".join(traceback.format_exception(caught.value)) + repr(judge) + str(vars(judge)) + caplog.text
    out, err = capfd.readouterr()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in shown + out + err + stored.decode()


def test_a_key_that_cannot_be_a_header_is_refused_without_showing_it(endpoint, judge, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX: y")
    with pytest.raises(UserError, match="OPENAI_API_KEY: it cannot be sent in a header") as caught:
        judge.ask(ASKED)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_key_follows_no_redirection(endpoint, judge):
    other = Endpoint()
    endpoint.replies = [(302, b"", {"Location": f"{other.url}/chat/completions"})]
    with pytest.raises(UserError, match="status 302"):
        judge.ask(ASKED)
    other.server.shutdown()
    other.server.server_close()
    assert other.requests == []


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"choices": []}', b'{"choices": [{"message": {}}]}'])
def test_an_answer_without_a_verdict_is_an_error(endpoint, judge, body):
    endpoint.replies = [(200, body, {})]
    with pytest.raises(UserError, match="holds no verdict"):
        judge.ask(ASKED)


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "api.example.org", "http://user:pass@localhost/v1", "http://"]
)
def test_an_address_that_is_none_is_refused(judge, monkeypatch, address):
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match="OPENAI_BASE_URL: not an address") as caught:
        judge.ask(ASKED)
    assert "pass@" not in str(caught.value)


def test_an_endpoint_without_key_is_asked_without_one(endpoint, judge, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    judge.ask(ASKED)
    assert "Authorization" not in endpoint.requests[0][1]
