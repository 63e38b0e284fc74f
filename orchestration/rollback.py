"""Carries out a rollback to a former champion: the pointer, its record, asset and page; it asks nobody."""

from collections.abc import Callable
from datetime import date

import dagster as dg

from assets.model_history import history_entry
from assets.models import NAME as MODEL
from assets.models import model_key
from assets.promotion import NAME as PROMOTED
from assets.resources import DataRefused, Platform
from infra.registry import Champion, Decision, NeverChampion, StaleComparison
from ml.data.dataset import DatasetSpec

PREVIOUS = "previous"
_LEAST_CHARACTERS = 6


def roll_back(
    platform: Platform,
    spec: DatasetSpec,
    instance: dg.DagsterInstance,
    *,
    to: str,
    reason: str,
    who: str,
    warn: Callable[[str], None],
) -> Champion:
    """Make a former champion the champion again, and report it on `promoted_model` and on the page across days.

    to: a model_id, its first characters, or "previous": the champion before the present one. Rolling back to the
    present champion changes nothing. Raises DataRefused for a blank reason, a model that never was champion or is not
    named by one model alone, one whose bundle is gone, and a champion that changed meanwhile.
    """
    if not reason.strip() or not who.strip():
        raise DataRefused("a rollback needs a reason and somebody who decides: both are kept with it")
    effective = [decision for decision in platform.registry.history() if decision.took_effect]
    model_id = _previous(effective) if to == PREVIOUS else _named(effective, to)
    if platform.artifacts.find(model_key(model_id)) is None:
        raise DataRefused(
            f"model {model_id} was champion, but {platform.objects.location} holds no bundle of it: choose another, or "
            f"materialize {MODEL} of its as-of day with the same settings"
        )
    before = platform.registry.champion()
    try:
        champion = platform.registry.rollback(to_model_id=model_id, who=who, reason=reason)
    except (NeverChampion, StaleComparison) as refusal:
        raise DataRefused(str(refusal)) from refusal
    if before is None or before.model_id != champion.model_id:
        _report(platform, spec, instance, champion, replaced=before, warn=warn)
    return champion


def _previous(effective: list[Decision]) -> str:
    """The champion before the present one: of A, B, then back to A, it is B."""
    if not effective:
        raise DataRefused("there is no champion yet: nothing to roll back")
    others = [decision for decision in effective if decision.model_id != effective[-1].model_id]
    if not others:
        raise DataRefused(
            f"model {effective[-1].model_id} is the only champion there ever was: nothing to roll back to"
        )
    return others[-1].model_id


def _named(effective: list[Decision], to: str) -> str:
    former = list(dict.fromkeys(decision.model_id for decision in effective))
    found = [model_id for model_id in former if len(to) >= _LEAST_CHARACTERS and model_id.startswith(to)]
    if len(found) != 1:
        what = "no former champion" if not found else f"{len(found)} former champions"
        there_are = ", ".join(former) or "none so far"
        raise DataRefused(f"{to!r} names {what}; give {_LEAST_CHARACTERS} characters or more of one of {there_are}")
    return found[0]


def _report(
    platform: Platform,
    spec: DatasetSpec,
    instance: dg.DagsterInstance,
    champion: Champion,
    *,
    replaced: Champion | None,
    warn: Callable[[str], None],
) -> None:
    """On the partition of the model that is left, which is the one that whoever is on call has open."""
    day: date = replaced.as_of if replaced is not None else champion.as_of
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=PROMOTED,
            partition=day.isoformat(),
            description=f"rolled back by {champion.promoted_by}: {champion.reason}",
            metadata={
                "decision": "rolled_back",
                "champion": champion.model_id,
                "champion_as_of": champion.as_of.isoformat(),
                "replaced": replaced.model_id if replaced is not None else "none",
                "who": champion.promoted_by,
                "reason": champion.reason,
                "history_page": history_entry(platform, spec, warn=warn),
            },
        )
    )
