"""The command `postclick rollback`: parses what is asked for and prints the champion; the rollback is `rollback`'s."""

from typing import Annotated

import typer
from rich.console import Console

from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.instance import open_instance
from orchestration.review import this_user
from orchestration.rollback import PREVIOUS, roll_back
from orchestration.telling import tell


def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept with the decision.")],
    to: Annotated[str, typer.Option(help="`previous`, or a former champion's model_id.")] = PREVIOUS,
    dataset: DatasetOption = None,
) -> None:
    """Make a former champion the champion again; the decision is appended to the history.

    Exit codes: 0 it is the champion, 2 wrong arguments, or a model that cannot be rolled back to.
    """
    settings, spec = open_dataset(dataset)
    platform = build_platform(settings, spec)
    with open_instance(settings, spec) as instance:
        champion = roll_back(
            platform,
            spec,
            instance,
            to=to,
            reason=reason,
            who=this_user(),
            warn=tell,
        )
    Console(soft_wrap=True).print(
        f"the champion is {champion.model_id}, as of {champion.as_of}: {champion.reason}", highlight=False, markup=False
    )
