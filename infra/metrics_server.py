"""Serves Prometheus metrics from this process while something goes on; what is measured is the collectors' business.

Loaded only where a port is set: without one no Prometheus client is needed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector


@contextmanager
def served(collectors: Sequence[Collector], *, port: int, tell: Callable[[str], None]) -> Iterator[bool]:
    """http://<any address of this host>:port/metrics within the block; yields whether it is there.

    A port that another process of the host has is no fault: `tell` says so, and the block goes on without.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as fault:
        if fault.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        tell(
            f"no metrics are served by this process: port {port} is not to be had here ({fault.strerror}), most likely "
            "another process of this host serves its own; POSTCLICK_METRICS_PORT names it"
        )
        yield False
        return
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
