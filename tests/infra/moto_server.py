"""moto as an S3 server on loopback, in this process; what is stored in it is the tests'."""

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """The address of a running server, ended with the block."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    # Real servers check a condition and write in one step; moto does it in two, on a thread per request.
    one_at_a_time, put_object = threading.Lock(), S3Response.put_object

    def atomic_put_object(self: S3Response) -> object:
        with one_at_a_time:
            return put_object(self)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    S3Response.put_object = atomic_put_object  # type: ignore[method-assign,assignment]
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        S3Response.put_object = put_object  # type: ignore[method-assign]
        server.stop()
