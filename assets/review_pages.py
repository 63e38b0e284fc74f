"""Makes and keeps the review page of a day that fell short; what the page shows, and how, is `data_checks`'."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from assets.models import NAME as MODEL
from assets.models import model_key
from assets.receipts import day_standing, quarantine_address, read_decisions, read_receipt, read_receipts
from assets.resources import Platform
from data_checks.receipts import Receipt
from data_checks.review_page import (
    DATA_DOCS_FILE,
    PAGE_FILE,
    AffectedModel,
    Reviewed,
    fell_short,
    render_review,
)
from data_checks.review_trends import TREND_DAYS
from infra.artifacts import ArtifactContested, Manifest
from ml.data.dataset import DatasetSpec

NAME = "reviews"
#: The longest window that a run's form allows: no model of a later day can have seen the reviewed one.
_FARTHEST_MODEL_DAYS = 400
_TRIES = 3


def review_key(day: date) -> str:
    """Store key of a day's review page."""
    return f"{NAME}/{day.isoformat()}"


def review_address(platform: Platform, day: date) -> str | None:
    """Address of the day's review page in the store; None for a day that has none."""
    manifest = platform.artifacts.find(review_key(day))
    return None if manifest is None else platform.address(f"{manifest.folder}/{PAGE_FILE}")


def review_file(platform: Platform, day: date) -> Path | None:
    """The day's review page on this machine, the pages that it links to beside it; None for a day that has none."""
    if platform.artifacts.find(review_key(day)) is None:
        return None
    return platform.artifacts.open(review_key(day)).directory() / PAGE_FILE


def publish_review(platform: Platform, spec: DatasetSpec, day: date) -> None:
    """Write the day's page from its present receipt, decisions and models, if it fell short or had a page before.

    A page that is there is never withdrawn: of a day that is good again it says so. Great Expectations' page lies
    beside it for a day that fell short and could be judged. Who decides while a run judges the same day contends for
    the page; it is then made again from what both have left.
    """
    for attempt in range(1, _TRIES + 1):
        receipt, before = read_receipt(platform, day), platform.artifacts.find(review_key(day))
        if receipt is None or not (fell_short(receipt) or before):
            return
        try:
            _publish(platform, spec, receipt, before=before)
            return
        except ArtifactContested:
            if attempt == _TRIES:
                raise


def _publish(platform: Platform, spec: DatasetSpec, receipt: Receipt, *, before: Manifest | None) -> None:
    day = receipt.day
    with platform.scratch(NAME) as folder:
        files = {PAGE_FILE: folder / PAGE_FILE}
        if fell_short(receipt) and receipt.rules:
            files[DATA_DOCS_FILE] = _data_docs(platform, spec, receipt, before=before, folder=folder)
        reviewed = Reviewed(
            receipt=receipt,
            history=tuple(read_receipts(platform, [day - timedelta(days=age) for age in range(TREND_DAYS - 1, 0, -1)])),
            decisions=read_decisions(platform, day),
            models=tuple(affected_models(platform, spec, receipt)),
            dataset=platform.dataset_argument or spec.name,
            store=platform.objects.location,
            quarantine=quarantine_address(platform, receipt),
            data_docs=DATA_DOCS_FILE in files,
        )
        files[PAGE_FILE].write_text(render_review(reviewed), encoding="utf-8")
        facts = {"receipt_id": receipt.receipt_id, "standing": day_standing(platform, day).why}
        platform.artifacts.publish(review_key(day), files, metadata=facts)


def _data_docs(
    platform: Platform, spec: DatasetSpec, receipt: Receipt, *, before: Manifest | None, folder: Path
) -> Path:
    """The page of this receipt that is there already, or a new one: a decision does not wait for Great Expectations."""
    same = before is not None and before.metadata.get("receipt_id") == receipt.receipt_id
    if before is not None and same and DATA_DOCS_FILE in before.files:
        return platform.artifacts.open(before.key).path(DATA_DOCS_FILE)
    from data_checks.data_docs import render_data_docs

    page = folder / DATA_DOCS_FILE
    page.write_text(render_data_docs(receipt, spec), encoding="utf-8")
    return page


def affected_models(platform: Platform, spec: DatasetSpec, receipt: Receipt) -> list[AffectedModel]:
    """The stored models that saw or left out the day, the champion whatever day it is of, and as-of days to come.

    An as-of day to come is one whose window, by the dataset spec, would include the day and that has no model yet.
    """
    champion = platform.registry.champion()
    stored = list(_stored_models(platform, receipt.day))
    if champion is not None and all(model_id != champion.model_id for _, model_id in stored):
        stored.append((champion.as_of, champion.model_id))
    models = []
    for as_of, model_id in stored:
        bundle = platform.artifacts.find(model_key(model_id))
        how = None if bundle is None else _how(bundle.metadata, receipt)
        if bundle is not None and how is not None:
            facts: Any = bundle.metadata
            models.append(
                AffectedModel(
                    as_of=as_of,
                    how=how,
                    model_id=model_id,
                    model=facts["model"]["name"],
                    champion=champion is not None and champion.model_id == model_id,
                )
            )
    trained = {as_of for as_of, _ in stored}
    coming = (receipt.day + timedelta(days=age) for age in range(1, spec.window.window_days + 1))
    models += [
        AffectedModel(as_of=as_of, how="in_window")
        for as_of in coming
        if as_of not in trained and spec.days.contains(as_of)
    ]
    return sorted(models, key=lambda model: model.as_of)


def _stored_models(platform: Platform, day: date) -> Iterator[tuple[date, str]]:
    """As-of day and model_id of the model pointers whose window may hold `day`."""
    last = day + timedelta(days=_FARTHEST_MODEL_DAYS)
    for key in platform.artifacts.keys(f"{MODEL}/"):
        as_of = date.fromisoformat(key.rpartition("/")[2])
        pointer = platform.artifacts.find(key) if day < as_of <= last else None
        if pointer is not None:
            yield as_of, str(pointer.metadata["model_id"])


def _how(facts: Any, receipt: Receipt) -> Any:
    day = receipt.day.isoformat()
    if day in facts["receipts"]:
        return "trained" if facts["receipts"][day] == receipt.receipt_id else "trained_on_other_receipt"
    return "left_out" if day in facts["missing_days"] else None
