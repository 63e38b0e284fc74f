"""SIGTERM outside of a training step raises at once."""

from __future__ import annotations

import os
import signal

import pytest

from ml.training.termination import Terminated, Termination


def test_outside_of_a_deferred_block_it_raises_at_once() -> None:
    termination = Termination()
    with termination.listening(), pytest.raises(Terminated, match="SIGTERM") as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.signal_number == signal.SIGTERM


def test_within_a_deferred_block_it_waits_for_the_check() -> None:
    termination = Termination()
    steps = []
    with termination.listening(), termination.deferred():
        termination.check()
        os.kill(os.getpid(), signal.SIGTERM)
        steps.append("finished")
        with pytest.raises(Terminated):
            termination.check()
    assert steps == ["finished"]


def test_it_is_no_exception_that_a_handler_of_faults_catches() -> None:
    assert not issubclass(Terminated, Exception)
