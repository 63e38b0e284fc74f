"""The slow plain-Python reading of attribution that the SQL joins are held against; it knows no files and no SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CLICK_WINDOW, CONVERSION_WINDOW, STAGE_WINDOW = 6, 24, 12  # hours


@dataclass(frozen=True)
class Event:
    """An event of any stream; `hour` counts from the log's first instant, None is an unreadable time."""

    hour: int | None
    user: str | None
    item: str | None
    id: str | None = None
    names: str | None = None
    value: float = 0.0
    order: str | None = None
    row: int = field(default=0, compare=False)

    @property
    def day(self) -> int:
        return 0 if self.hour is None else self.hour // 24

    @property
    def at(self) -> int:
        assert self.hour is not None
        return self.hour


@dataclass(frozen=True)
class Touch:
    """A click as the reference resolves it; `shown` is None where it belongs to no impression."""

    click: Event
    shown: Event | None
    late: bool

    @property
    def user(self) -> str | None:
        return self.click.user or (self.shown.user if self.shown else None)

    @property
    def item(self) -> str | None:
        return self.click.item or (self.shown.item if self.shown else None)


@dataclass(frozen=True)
class Credit:
    """What an event of a stage is credited to: an impression, its click if there is one; or nothing."""

    shown: Event | None = None
    click: Event | None = None
    late: bool = False


def reference_touches(
    mode: str, impressions: Sequence[Event], clicks: Sequence[Event], *, lookback: int, skew: int
) -> list[Touch]:
    """`lookback`: days before a click's day whose impressions it may belong to; `skew` in hours."""
    if mode == "implied":
        return [Touch(shown, shown, False) for shown in impressions]
    readable = [shown for shown in impressions if shown.hour is not None and shown.id is not None]
    touches = []
    for click in clicks:
        found: list[Event] = []
        if mode == "impression_id":
            named = [shown for shown in readable if shown.id == click.names]
            found = sorted((shown for shown in named if shown.day == click.day), key=content)
            if not found:
                past = [shown for shown in named if 0 < click.day - shown.day <= lookback]
                found = sorted(past, key=content, reverse=True)
        elif click.hour is not None:
            reach = [shown for shown in readable if 0 <= click.day - shown.day <= lookback and same_pair(shown, click)]
            before = [shown for shown in reach if shown.at <= click.hour + skew]
            found = sorted(before, key=lambda shown: (-shown.at, shown.id or ""))
        shown = found[0] if found else None
        late = shown is not None and click.hour is not None and click.hour - shown.at >= CLICK_WINDOW
        touches.append(Touch(click, shown, late))
    return touches


def reference_credit(
    mode: str,
    touch: str,
    event: Event,
    impressions: Sequence[Event],
    touches: Sequence[Touch],
    *,
    window: int,
    skew: int,
) -> Credit:
    """The impression that an event is credited to, and whether it came too late; it may look back on every day."""
    past = [
        one
        for one in touches
        if one.click.day <= event.day and one.shown and one.shown.hour is not None and one.click.hour is not None
    ]
    usable = [one for one in past if one.shown is not None and one.shown.id is not None]
    if mode == "click_id":
        named = [one for one in usable if one.click.id is not None and one.click.id == event.names]
        chosen = min(named, key=lambda one: (one.click.at, one.click.row), default=None)
    elif mode == "impression_id":
        named = [one for one in usable if one.shown and one.shown.id == event.names]
        named = [one for one in named if not one.late] or named
        chosen = choose(touch, event, named, window=window, skew=skew) or min(named, key=earliest, default=None)
        if chosen is None:
            known = [one for one in impressions if one.hour is not None and one.id and one.day <= event.day]
            shown = min((one for one in known if one.id == event.names), key=lambda one: one.at, default=None)
            return Credit(shown, None, shown is not None and outside(event, shown, window))
    else:
        pairs = [
            one
            for one in usable
            if None not in (one.user, one.item) and (one.user, one.item) == (event.user, event.item)
        ]
        chosen = choose(touch, event, pairs, window=window, skew=skew)
    if chosen is None:
        return Credit()
    return Credit(chosen.shown, chosen.click, chosen.late or outside(event, chosen.click, window))


def choose(touch: str, event: Event, clicks: Sequence[Touch], *, window: int, skew: int) -> Touch | None:
    """Last touch, first touch, or none, of the clicks at or before the event (within the skew)."""
    if touch == "none" or event.hour is None:
        return None
    before = [one for one in clicks if one.click.at <= event.hour + skew]
    holding = [one for one in before if event.hour - one.click.at < window]
    if touch == "first" and holding:
        return min(holding, key=earliest)
    return min(before, key=lambda one: (-one.click.at, *earliest(one)[1:]), default=None)


def earliest(one: Touch) -> tuple[int, bool, str, int]:
    assert one.shown is not None
    return one.click.at, one.late, one.shown.id or "", one.shown.at


def reference_ranks(mode: str, conversions: Sequence[Event]) -> dict[int, int]:
    """For each conversion's row its place among the deliveries of one order to one reference."""
    named: Callable[[Event], bool] = lambda one: one.names is not None  # noqa: E731
    if mode == "user_item_time":
        named = lambda one: None not in (one.user, one.item)  # noqa: E731
    ranks = dict.fromkeys((one.row for one in conversions), 1)
    seen: dict[tuple[object, ...], int] = {}
    delivered = [one for one in conversions if one.hour is not None and named(one)]
    for one in sorted(delivered, key=lambda one: (one.day, one.at, one.row)):
        copy = (one.hour, one.value) if one.order is None else ()
        names = None if mode == "user_item_time" else one.names
        key = (one.order, names, one.user, one.item, *copy)
        ranks[one.row] = seen[key] = seen.get(key, 0) + 1
    return ranks


def content(shown: Event) -> tuple[int, str, str]:
    return shown.at, shown.user or "~", shown.item or "~"


def same_pair(one: Event, other: Event) -> bool:
    return None not in (one.user, one.item) and (one.user, one.item) == (other.user, other.item)


def outside(event: Event, since: Event, window: int) -> bool:
    return event.hour is not None and event.hour - since.at >= window
