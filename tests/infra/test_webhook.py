"""A message reaches a real local server; one that is slow, refuses, redirects or fails is told without its address."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.webhook import LONGEST_TEXT, MessageNotDelivered, WebhookInvalid, check_address, post_message

Answer = Callable[[BaseHTTPRequestHandler], None]
SECRET = "T000/B000/very-secret"


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], tuple[str, list[bytes]]]]:
    """serve(answer) → (address, the bodies that arrived)."""
    servers = []

    def start(answer: Answer) -> tuple[str, list[bytes]]:
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                answer(self)

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/{SECRET}", bodies

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_message_arrives_as_slack_wants_it(serve: Callable[[Answer], tuple[str, list[bytes]]]) -> None:
    address, bodies = serve(_status(200))
    post_message(address, "day refused ☂", timeout_seconds=5)
    assert [json.loads(body) for body in bodies] == [{"text": "day refused ☂"}]


def test_a_long_message_is_cut(serve: Callable[[Answer], tuple[str, list[bytes]]]) -> None:
    address, bodies = serve(_status(200))
    post_message(address, "x" * (LONGEST_TEXT + 1), timeout_seconds=5)
    text = json.loads(bodies[0])["text"]
    assert len(text) == LONGEST_TEXT
    assert text.endswith("x…")


@pytest.mark.parametrize("code", [500, 404, 429])
def test_another_status_is_not_taken_for_delivery(
    serve: Callable[[Answer], tuple[str, list[bytes]]], code: int
) -> None:
    address, _ = serve(_status(code))
    with pytest.raises(MessageNotDelivered, match=f"status {code}") as told:
        post_message(address, "hello", timeout_seconds=5)
    assert SECRET not in str(told.value)


def test_a_redirect_is_not_followed(serve: Callable[[Answer], tuple[str, list[bytes]]]) -> None:
    elsewhere, stolen = serve(_status(200))
    address, _ = serve(_status(307, Location=elsewhere))
    with pytest.raises(MessageNotDelivered, match="status 307"):
        post_message(address, "hello", timeout_seconds=5)
    assert stolen == []


def test_a_closed_port_is_told_with_its_host_alone() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(MessageNotDelivered, match=r"webhook at 127\.0\.0\.1.*refused") as told:
        post_message(f"http://127.0.0.1:{port}/{SECRET}", "hello", timeout_seconds=5)
    assert SECRET not in str(told.value)


def test_a_server_that_sends_a_byte_now_and_then_holds_nobody(
    serve: Callable[[Answer], tuple[str, list[bytes]]],
) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not released.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    address, _ = serve(drip)
    waited = threading.Event()

    def post() -> None:
        with pytest.raises(MessageNotDelivered, match=r"no answer within 0\.3 s"):
            post_message(address, "hello", timeout_seconds=0.3)
        waited.set()

    threading.Thread(target=post, daemon=True).start()
    # Each single read succeeds, so that only a limit on the whole exchange ends it; a minute is for ever here.
    for _ in range(600):
        if waited.is_set():
            break
        time.sleep(0.1)
    released.set()
    assert waited.is_set()


@pytest.mark.parametrize("address", ["", "hooks.slack.com/x", "file:///etc/passwd", "ftp://host/x", "https:///x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(WebhookInvalid, match="give an https:// address"):
        check_address(address)
