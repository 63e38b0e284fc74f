"""The commands on days of samples: `review`, `page` and `days`; what a decision does is `review`'s."""

import json
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from assets.review_pages import publish_review, review_file
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.day_arguments import one_day
from orchestration.instance import open_instance
from orchestration.review import review_day, this_user
from orchestration.summary import print_days, summarize_day, table_console
from orchestration.telling import tell


def review(
    day: Annotated[str, typer.Option(help="The day that was reviewed.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the decision.")],
    accept: Annotated[bool, typer.Option("--accept", help="Train on the admitted rows of this receipt.")] = False,
    exclude: Annotated[bool, typer.Option("--exclude", help="Keep the day out of training.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Undo every decision made on the day so far.")] = False,
    dataset: DatasetOption = None,
) -> None:
    """Accept or exclude a day, or revoke what was decided: appended to the day's record, shown on its asset."""
    settings, spec = open_dataset(dataset)
    chosen = [name for name, given in (("accept", accept), ("exclude", exclude), ("revoke", revoke)) if given]
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --accept, --exclude and --revoke")
    reviewed = one_day(day, spec)
    platform = build_platform(settings, spec)
    with open_instance(settings, spec) as instance:
        review_day(
            platform,
            spec,
            instance,
            day=reviewed,
            decision=chosen[0],
            reason=reason,
            reviewer=this_user(),
            decided_at=datetime.now(UTC),
        )
    print_days(table_console(), [summarize_day(platform, reviewed)])


def page(
    day: Annotated[str, typer.Option(help="The day to look at.")],
    dataset: DatasetOption = None,
) -> None:
    """Write the review page of a day that fell short anew, with the models there are by now, and print where it is."""
    settings, spec = open_dataset(dataset)
    reviewed = one_day(day, spec)
    platform = build_platform(settings, spec)
    publish_review(platform, spec, reviewed)
    file = review_file(platform, reviewed)
    if file is None:
        standing = summarize_day(platform, reviewed).standing
        tell(f"{reviewed} has no page, as it did not fall short: {standing}")
    else:
        print(file)


def list_days(
    dataset: DatasetOption = None,
    last: Annotated[int | None, typer.Option(min=1, help="The newest N days alone.")] = None,
    as_json_only: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List the days that have a receipt: rows, the rule that weighs most, verdict, maturity, decision and standing."""
    settings, spec = open_dataset(dataset)
    platform = build_platform(settings, spec)
    keys = sorted(key.rpartition("/")[2] for key in platform.artifacts.keys("validated_samples/"))
    rows = [summarize_day(platform, date.fromisoformat(key)) for key in keys[-last if last else 0 :]]
    if as_json_only:
        print(json.dumps({"days": [row.model_dump(mode="json") for row in rows]}, indent=1))
    else:
        print_days(table_console(), rows)
