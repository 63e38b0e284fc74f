"""An HTTP proxy before an S3 server that plays the faults of servers and networks; which, the tests decide."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit


class Request(NamedTuple):
    """A request as the server would see it; `path` holds the query too."""

    method: str
    path: str
    headers: dict[str, str]


class Fault(NamedTuple):
    """What goes wrong with a request.

    Args:
        answer: this status and S3 error code instead of the server's answer; the server sees nothing.
        lose_answer: the server does its work, but the client is told of an internal error.
        cut_after: the connection ends after so many bytes of the request's body.
        cut_answer_after: the connection ends after so many bytes of the answer's body.
        flip: a bit of the body is changed on its way to the server.
        date: the answer's Date header.
    """

    answer: tuple[int, str] | None = None
    lose_answer: bool = False
    cut_after: int | None = None
    cut_answer_after: int | None = None
    flip: bool = False
    date: str | None = None


class FaultProxy:
    """Forwards to `upstream`; `fault(request)` is asked for each request. `endpoint` is its own address."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.faults = 0
        self._counting = threading.Lock()
        address = urlsplit(upstream)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def handle_request(self) -> None:
                fault = proxy.fault(Request(self.command, self.path, dict(self.headers.items())))
                if fault is not None:
                    with proxy._counting:
                        proxy.faults += 1
                fault = fault or Fault()
                length = int(self.headers.get("Content-Length", 0))
                if fault.cut_after is not None:
                    self.rfile.read(min(length, fault.cut_after))
                    self._cut()
                    return
                body = self.rfile.read(length)
                if fault.answer is not None:
                    self._refuse(*fault.answer, date=fault.date)
                    return
                if fault.flip and body:
                    body = bytes([body[0] ^ 1]) + body[1:]
                self._forward(body, fault)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

            def _forward(self, body: bytes, fault: Fault) -> None:
                connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
                with contextlib.closing(connection):
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                    connection.request(self.command, self.path, body=body, headers=headers)
                    answer = connection.getresponse()
                    content = answer.read()
                if fault.lose_answer:
                    self._refuse(500, "InternalError", date=None)
                    return
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                size = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", size)
                self.end_headers()
                if fault.cut_answer_after is not None:
                    self.wfile.write(content[: fault.cut_answer_after])
                    self._cut()
                    return
                self.wfile.write(content)

            def _refuse(self, status: int, code: str, *, date: str | None) -> None:
                content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                self.send_response_only(status)
                self.send_header("Date", date or self.date_time_string())
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _cut(self) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign,assignment]
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def times(count: int, fault: Fault, *, when: Callable[[Request], bool]) -> Callable[[Request], Fault | None]:
    """The fault for the first `count` requests of which `when` holds, and none after."""
    seen, counting = [0], threading.Lock()

    def decide(request: Request) -> Fault | None:
        if not when(request):
            return None
        with counting:
            seen[0] += 1
            return fault if seen[0] <= count else None

    return decide


def a_put(request: Request) -> bool:
    return request.method == "PUT"


def a_get(request: Request) -> bool:
    return request.method == "GET" and "list-type" not in request.path


def a_part(request: Request) -> bool:
    return "partNumber=" in request.path


def a_completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId=" in request.path
