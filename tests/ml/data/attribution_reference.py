"""The slow plain-Python reading of attribution that the SQL joins are held against; it knows no files and no SQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field

CLICK_WINDOW, CONVERSION_WINDOW = 6, 24  # hours


@dataclass(frozen=True)
class Event:
    """An event of any stream; `hour` counts from the log's first instant, None is an unreadable time."""

    hour: int | None
    user: str | None
    item: str | None
    id: str | None = None
    names: str | None = None
    value: float = 0.0
    row: int = field(default=0, compare=False)

    @property
    def day(self) -> int:
        return 0 if self.hour is None else self.hour // 24


@dataclass(frozen=True)
class Touch:
    """A click as the reference resolves it."""

    click: Event
    shown: str | None
    late: bool
    user: str | None
    item: str | None


def reference_touches(mode: str, impressions: Sequence[Event], clicks: Sequence[Event], reach_days: int) -> list[Touch]:
    if mode == "implied":
        return [Touch(shown, shown.id, False, shown.user, shown.item) for shown in impressions]
    touches = []
    for click in clicks:
        reach = [shown for shown in impressions if 0 <= click.day - shown.day <= reach_days]
        if mode == "impression_id":
            found = [shown for shown in reach if shown.id is not None and shown.id == click.names]
        else:
            found = [
                shown for shown in reach if same_pair(shown, click) and shown.id is not None and before(shown, click)
            ]
            found.sort(key=lambda shown: (-(shown.hour or 0), shown.id or ""))
        if not found:
            touches.append(Touch(click, None, False, click.user, click.item))
            continue
        shown = found[0]
        late = click.hour is not None and click.hour - (shown.hour or 0) >= CLICK_WINDOW
        touches.append(Touch(click, shown.id, late, click.user or shown.user, click.item or shown.item))
    return touches


def reference_credit(
    mode: str, conversion: Event, impressions: Sequence[Event], touches: Sequence[Touch]
) -> tuple[str | None, bool]:
    """The impression that a conversion is credited to, and whether it came too late."""
    past = [
        touch
        for touch in touches
        if touch.click.day <= conversion.day and touch.shown is not None and touch.click.hour is not None
    ]

    def too_late(since: int) -> bool:
        return conversion.hour is not None and conversion.hour - since >= CONVERSION_WINDOW

    if mode == "impression_id":
        reach = [shown.id for shown in impressions if shown.id is not None and shown.day <= conversion.day]
        if conversion.names not in reach:
            return None, False
        clicked = [touch for touch in past if touch.shown == conversion.names]
        if not clicked:
            since = next(shown.hour or 0 for shown in impressions if shown.id == conversion.names)
            return conversion.names, too_late(since)
        since = min(touch.click.hour or 0 for touch in clicked)
        return conversion.names, all(touch.late for touch in clicked) or too_late(since)
    if mode == "click_id":
        found = [touch for touch in past if touch.click.id is not None and touch.click.id == conversion.names]
        found.sort(key=lambda touch: (touch.click.hour or 0, touch.click.row))
    else:
        found = [
            touch
            for touch in past
            if None not in (touch.user, touch.item)
            and (touch.user, touch.item) == (conversion.user, conversion.item)
            and before(touch.click, conversion)
        ]
        found.sort(key=lambda touch: (-(touch.click.hour or 0), touch.late, touch.shown or ""))
    if not found:
        return None, False
    return found[0].shown, found[0].late or too_late(found[0].click.hour or 0)


def same_pair(one: Event, other: Event) -> bool:
    return None not in (one.user, one.item) and (one.user, one.item) == (other.user, other.item)


def before(earlier: Event, later: Event) -> bool:
    return earlier.hour is not None and later.hour is not None and earlier.hour <= later.hour
