"""Metrics are there while the block lasts, and a port that another process has costs nothing but a line in the log."""

import socket
import urllib.request
from urllib.error import URLError

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.metrics_server import served


class One(Collector):
    def collect(self) -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily("one", "a figure", value=1)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_metrics_are_served_within_the_block_alone():
    port, told = free_port(), []
    for _ in range(2):
        with served([One()], port=port, tell=told.append) as there:
            assert there
            assert "one 1.0" in scraped(port).splitlines()
        with pytest.raises(URLError):
            scraped(port)
    assert told == []


def test_the_second_on_a_port_says_so_and_goes_on():
    port, told = free_port(), []
    with served([One()], port=port, tell=told.append), served([One()], port=port, tell=told.append) as there:
        assert not there
        assert "one 1.0" in scraped(port)
    assert len(told) == 1
    assert str(port) in told[0]
    assert "POSTCLICK_METRICS_PORT" in told[0]


def test_a_fault_of_the_block_is_not_taken_for_one_of_the_port():
    with pytest.raises(OSError, match="the block's own"), served([One()], port=free_port(), tell=print):
        raise OSError(98, "the block's own")
