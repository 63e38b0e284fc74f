"""Leases: one holder at a time, a dead one replaced, a paused one fenced off; by hand-driven clocks and by threads."""

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.leases import Lease, LeaseLost, Leases
from infra.local_object_store import LocalObjectStore
from infra.object_keys import ObjectStoreError
from tests.infra.slept_clock import SleptClock


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def clock() -> SleptClock:
    return SleptClock()


def leases(store: LocalObjectStore, clock: SleptClock) -> Leases:
    return Leases(store, seconds=60, clock=clock, sleep=clock.sleep)


def taken(answer: Lease | None) -> Lease:
    assert answer is not None
    return answer


def test_tokens_grow_with_each_holder_and_a_returned_lease_is_free_at_once(store, clock):
    ours = leases(store, clock)
    first = taken(ours.acquire("m", holder="a"))
    ours.release(first)
    second = taken(ours.acquire("m", holder="b"))
    assert (first.token, second.token, clock.now) == (1, 2, 0.0)


def test_a_holder_that_dies_is_replaced_after_its_seconds_and_not_before(store, clock):
    taken(leases(store, clock).acquire("m", holder="dead"))
    told: list[str] = []
    second = taken(leases(store, clock).acquire("m", holder="b", waiting=told.append))
    assert (second.token, clock.now) == (2, 60.0)
    assert told == ["waiting for dead, which holds m (token 1)"]


def test_a_living_holder_is_waited_for_however_long_and_until_there_is_no_need(store, clock):
    other = leases(store, clock)
    held = taken(other.acquire("m", holder="living"))
    clock.on_sleep = lambda: other.renew(held)
    assert leases(store, clock).acquire("m", holder="b", needless=lambda: clock.now > 1000) is None
    assert clock.now > 1000
    other.renew(held)


def test_a_paused_holder_finds_out_that_it_lost(store, clock):
    paused = leases(store, clock)
    held = taken(paused.acquire("m", holder="paused"))
    newer = taken(leases(store, clock).acquire("m", holder="b"))
    with pytest.raises(LeaseLost, match=r"paused held m by token 1, and b \(token 2\) holds it now"):
        paused.renew(held)
    paused.release(held)
    leases(store, clock).renew(newer)


def test_a_paused_holder_is_told_of_one_who_has_finished_meanwhile(store, clock):
    paused, other = leases(store, clock), leases(store, clock)
    held = taken(paused.acquire("m", holder="paused"))
    other.release(taken(other.acquire("m", holder="b")))
    with pytest.raises(LeaseLost, match=r"nobody \(token 2\) holds it now") as loss:
        paused.renew(held)
    assert loss.value.holder == "b"
    assert taken(leases(store, clock).acquire("m", holder="c")).token == 3


def test_the_same_holder_takes_its_lease_again_without_waiting_and_with_a_new_token(store, clock):
    taken(leases(store, clock).acquire("m", holder="pod-1"))
    assert taken(leases(store, clock).acquire("m", holder="pod-1")).token == 2
    assert clock.now == 0.0


def test_names_are_apart(store, clock):
    assert taken(leases(store, clock).acquire("m/1", holder="a")).token == 1
    assert taken(leases(store, clock).acquire("m/2", holder="b")).token == 1


def test_what_is_no_lease_is_refused_by_name(store, clock):
    store.put_bytes("leases/m", b"{}")
    with pytest.raises(ObjectStoreError, match=r"leases/m in .* is no lease"):
        leases(store, clock).acquire("m", holder="a")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(st.tuples(st.sampled_from(["acquire", "renew", "release", "pause"]), st.integers(0, 2))))
def test_whatever_happens_only_the_newest_token_can_renew(tmp_path_factory, events):
    store, clock = LocalObjectStore(tmp_path_factory.mktemp("s")), SleptClock()
    ours = leases(store, clock)
    held: dict[int, Lease] = {}
    newest = 0
    for event, who in events:
        if event == "acquire":
            lease = taken(ours.acquire("m", holder=f"h{who}"))
            assert lease.token == newest + 1
            newest, held[who] = lease.token, lease
        elif event == "pause":
            clock.now += 100
        elif who in held and event == "release":
            ours.release(held[who])
        elif who in held:
            if held[who].token == newest:
                ours.renew(held[who])
            else:
                with pytest.raises(LeaseLost):
                    ours.renew(held[who])


def test_of_twenty_who_race_one_holds(store):
    barrier = threading.Barrier(20)
    tokens: list[int | None] = []

    def race(number: int) -> None:
        ours = Leases(store, seconds=60, sleep=lambda _: None)
        barrier.wait()
        lease = ours.acquire("m", holder=f"h{number}", needless=lambda: True)
        tokens.append(None if lease is None else lease.token)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token for token in tokens if token is not None) == [1]
    assert tokens.count(None) == 19
