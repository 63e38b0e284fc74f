"""The sensor that carries out the assets' automation conditions; the conditions themselves are the assets'."""

import dagster as dg

from assets.partitions import DATA_GROUP


def build_automation() -> list[dg.AutomationConditionSensorDefinition]:
    """`restated_days`, stopped until someone starts it, like the schedules."""
    return [
        dg.AutomationConditionSensorDefinition(
            "restated_days",
            target=dg.AssetSelection.groups(DATA_GROUP),
            default_status=dg.DefaultSensorStatus.STOPPED,
            minimum_interval_seconds=60,
            description="Joins and validates a recent day again when its raw events were restated.",
        )
    ]
