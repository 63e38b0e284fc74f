"""Calls that start at one moment, each on a thread of its own."""

import threading
from collections.abc import Callable


def all_at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Each call's result, or the exception that it raised, in order."""
    start, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

    def contend(place: int) -> None:
        start.wait()
        try:
            outcomes[place] = calls[place]()  # type: ignore[call-overload]
        except Exception as error:
            outcomes[place] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=contend, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(outcomes)
