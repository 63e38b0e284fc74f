"""The exact commands that a reviewer types about a day, quoted for the shell; they are run by people, never here."""

import shlex
from collections.abc import Sequence
from datetime import date

from pydantic import BaseModel, ConfigDict

#: Where the reviewer's own words go; a decision without a reason is refused.
_REASON = "say why"


class Command(BaseModel):
    """A command line and what it does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    line: str
    effect: str


def review_commands(*, dataset: str, day: date, decided: bool, retrain: Sequence[date] = ()) -> tuple[Command, ...]:
    """What can be done about the day: fix, accept, exclude; revoke where something was `decided`.

    `dataset` is what `--dataset` is given: a spec's name or path. `retrain` holds as-of days of models that were
    trained on the day.
    """
    commands = [
        Command(
            title="Fix",
            line=_line("run", dataset, "--days", day.isoformat(), "--data-only"),
            effect="Mend the feed upstream first; then this reads and judges the day again.",
        ),
        Command(
            title="Accept",
            line=_line("review", dataset, "--day", day.isoformat(), "--accept", "--reason", _REASON),
            effect="The admitted rows are trained on; quarantined rows stay out. It holds for this receipt: a restated "
            "day has to be looked at again.",
        ),
        Command(
            title="Exclude",
            line=_line("review", dataset, "--day", day.isoformat(), "--exclude", "--reason", _REASON),
            effect="Nothing of the day is trained on, whatever its receipt says, until someone decides otherwise.",
        ),
    ]
    if decided:
        commands.append(
            Command(
                title="Revoke",
                line=_line("review", dataset, "--day", day.isoformat(), "--revoke", "--reason", _REASON),
                effect="Every decision so far stops counting: the day stands by its own verdict again.",
            )
        )
    if retrain:
        newest = max(retrain)
        commands.append(
            Command(
                title="Train again",
                line=_line("run", dataset, "--days", day.isoformat(), "--as-of", newest.isoformat()),
                effect="A stored model keeps what it learned. This trains the newest one listed above without the day, "
                "or with it as it now is.",
            )
        )
    return tuple(commands)


def _line(verb: str, dataset: str, *arguments: str) -> str:
    return shlex.join(["postclick", verb, "--dataset", dataset, *arguments])
