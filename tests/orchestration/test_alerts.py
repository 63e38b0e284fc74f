"""Failed runs and refused days reach a webhook once; without one, or with one that fails, nothing else changes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from assets.partitions import VERDICT_ASSET
from infra.webhook import MessageNotDelivered
from ml.data.dataset import DatasetSpec
from orchestration.alerts import build_alerts, failed_run_text, refused_days_text
from orchestration.settings import Settings


class Webhook:
    """A local server that answers with `status` and keeps what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.texts: list[str] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if webhook.status == 200:
                    webhook.texts.append(json.loads(body)["text"])
                self.send_response(webhook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/secret"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


def sensors(settings: Settings, spec: DatasetSpec, address: str | None) -> dict[str, dg.SensorDefinition]:
    told = Settings.model_validate({**settings.model_dump(), "alert_webhook": address, "alert_timeout_seconds": 5})
    return {sensor.name: sensor for sensor in build_alerts(told, spec)}


def validated(instance: dg.DagsterInstance, day: str, verdict: str, standing: str = "admitted") -> None:
    facts = {"verdict": verdict, "standing": standing, "usable": not standing.startswith("refused: ")}
    event = dg.AssetMaterialization(VERDICT_ASSET, partition=day, metadata=facts)
    instance.report_runless_asset_event(event)


def look(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    return sensor(dg.build_sensor_context(instance=instance, cursor=cursor))


def test_refused_days_of_a_green_range_are_told_once_in_one_message(
    settings: Settings, spec: DatasetSpec, webhook: Webhook
) -> None:
    sensor = sensors(settings, spec, webhook.address)["alert_refused_days"]
    with dg.DagsterInstance.ephemeral() as instance:
        validated(instance, "2026-01-04", "refused", "refused: before anyone asked for alerts")
        first = look(sensor, instance, None)
        assert webhook.texts == []
        validated(instance, "2026-01-05", "admitted")
        validated(instance, "2026-01-06", "refused", "refused: volume.below_trailing_median: 0.3 <script>")
        validated(instance, "2026-01-07", "refused", "refused: 8 % bad")
        # Mended before anyone looked: no news.
        validated(instance, "2026-01-08", "refused", "refused: 9 % bad")
        validated(instance, "2026-01-08", "admitted")
        second = look(sensor, instance, first.cursor)
        assert len(webhook.texts) == 1
        told = webhook.texts[0]
        assert "tiny" in told
        assert "2026-01-06: refused: volume.below_trailing_median: 0.3 &lt;script&gt;" in told
        assert "2026-01-07" in told
        assert "2026-01-08" not in told
        look(sensor, instance, second.cursor)
        assert len(webhook.texts) == 1


def test_a_day_accepted_by_a_reviewer_is_no_alarm(settings: Settings, spec: DatasetSpec, webhook: Webhook) -> None:
    sensor = sensors(settings, spec, webhook.address)["alert_refused_days"]
    with dg.DagsterInstance.ephemeral() as instance:
        first = look(sensor, instance, None)
        validated(instance, "2026-01-05", "refused", "refused; accepted by ann: public holiday")
        look(sensor, instance, first.cursor)
    assert webhook.texts == []


def test_what_the_webhook_did_not_take_is_told_at_the_next_look(
    settings: Settings, spec: DatasetSpec, webhook: Webhook
) -> None:
    sensor = sensors(settings, spec, webhook.address)["alert_refused_days"]
    with dg.DagsterInstance.ephemeral() as instance:
        first = look(sensor, instance, None)
        validated(instance, "2026-01-05", "refused", "refused: 8 % bad")
        webhook.status = 500
        with pytest.raises(MessageNotDelivered, match="status 500") as failure:
            look(sensor, instance, first.cursor)
        assert "secret" not in str(failure.value)
        webhook.status = 200
        look(sensor, instance, first.cursor)
    assert len(webhook.texts) == 1


def test_without_a_webhook_both_are_stopped_and_say_what_to_set(settings: Settings, spec: DatasetSpec) -> None:
    both = sensors(settings, spec, None)
    assert {sensor.default_status for sensor in both.values()} == {dg.DefaultSensorStatus.STOPPED}
    with dg.DagsterInstance.ephemeral() as instance:
        first = look(both["alert_refused_days"], instance, None)
        validated(instance, "2026-01-05", "refused", "refused: 8 % bad")
        skipped = look(both["alert_refused_days"], instance, first.cursor)
    assert isinstance(skipped, dg.SkipReason)
    assert "POSTCLICK_ALERT_WEBHOOK is not set" in str(skipped.skip_message)


def test_a_configured_webhook_starts_both(settings: Settings, spec: DatasetSpec, webhook: Webhook) -> None:
    both = sensors(settings, spec, webhook.address)
    assert set(both) == {"alert_failed_run", "alert_refused_days"}
    assert {sensor.default_status for sensor in both.values()} == {dg.DefaultSensorStatus.RUNNING}


@pytest.mark.parametrize("status", [200, 500])
def test_a_failed_run_is_told_with_what_it_said_and_stays_as_it_ended(
    settings: Settings, spec: DatasetSpec, webhook: Webhook, status: int
) -> None:
    @dg.op
    def refuse() -> None:
        raise dg.Failure(description="2026-01-06 was refused: 30 % of its volume", allow_retries=False)

    @dg.job
    def nightly() -> None:
        refuse()

    webhook.status = status
    sensor = sensors(settings, spec, webhook.address)["alert_failed_run"]
    with dg.DagsterInstance.ephemeral() as instance:
        result = nightly.execute_in_process(
            instance=instance, raise_on_error=False, tags={"dagster/partition": "2026-01-06"}
        )
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
        if status == 200:
            sensor(context)
            assert webhook.texts == [
                failed_run_text(
                    dataset="tiny",
                    job="nightly",
                    day="2026-01-06",
                    run_id=result.run_id,
                    why="2026-01-06 was refused: 30 % of its volume",
                    ui=None,
                )
            ]
        else:
            with pytest.raises(Exception, match="status 500"):
                sensor(context)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE


def test_many_refused_days_are_cut_and_linked() -> None:
    text = refused_days_text(
        dataset="shop", refused={f"2026-01-{day:02d}": "bad" for day in range(1, 14)}, ui="https://ui/"
    )
    assert text.count("•") == 11
    assert "and 3 more" in text
    assert text.endswith("https://ui/assets/validated_samples?view=partitions")
