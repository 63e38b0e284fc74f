"""A clock for whatever waits by a clock and a sleep of its own, such as leases; nobody waits in earnest."""

from collections.abc import Callable


class SleptClock:
    """Time that passes only when somebody sleeps; `on_sleep` is what others do meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_sleep: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()
