"""The job `rollback_champion`: a rollback by a form in the launchpad; what it does is `rollback`'s."""

import dagster as dg
from pydantic import Field

from assets.resources import DataRefused, Platform
from ml.data.dataset import DatasetSpec
from orchestration.review import this_user
from orchestration.rollback import PREVIOUS, roll_back

ROLLBACK = "rollback_champion"

#: What the launchpad is filled in with. As it is, the run refuses it, since no reason is given.
_BLANK = {"to": PREVIOUS, "reason": "", "who": None}


class RollbackForm(dg.Config):
    """The form of `rollback_champion`."""

    to: str = Field(
        default=PREVIOUS, description="previous, or the model_id of a former champion (6 characters will do)"
    )
    reason: str = Field(description="why; kept with the decision, for the next on call")
    who: str | None = Field(default=None, description="who decides; the user that the run runs as if absent")


def build_rollback_job(spec: DatasetSpec) -> dg.JobDefinition:
    """The job of a dataset: one op, not partitioned, so that its form alone names the model."""

    @dg.op(name="roll_back", description="Moves the champion pointer back and appends the decision to the history.")
    def move_back(context: dg.OpExecutionContext, config: RollbackForm, platform: dg.ResourceParam[Platform]) -> None:
        try:
            champion = roll_back(
                platform,
                spec,
                context.instance,
                to=config.to,
                reason=config.reason,
                who=this_user() if config.who is None else config.who,
                warn=context.log.warning,
            )
        except DataRefused as refusal:
            raise dg.Failure(description=str(refusal), allow_retries=False) from refusal
        context.log.info(f"the champion is {champion.model_id}, as of {champion.as_of}: {champion.reason}")
        context.add_output_metadata({"champion": champion.model_id, "champion_as_of": champion.as_of.isoformat()})

    @dg.job(
        name=ROLLBACK,
        config={"ops": {"roll_back": {"config": _BLANK}}},
        description="Make a former champion the champion again: fill in the form in the Launchpad. The decision is "
        "appended to the history, with who, when and why; the same as `postclick rollback`.",
    )
    def rollback() -> None:
        move_back()

    return rollback
