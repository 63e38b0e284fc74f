"""Facts kept as JSON beside artifacts and decisions; how they are stored is not decided here."""

import json
from collections.abc import Mapping

from pydantic import JsonValue


def plain_json(facts: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A copy as JSON gives it back, so that what is compared is what is stored; ValueError for NaN or foreign types."""
    try:
        return json.loads(json.dumps(dict(facts), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"facts to keep must be plain JSON without NaN or infinity: {error}: {facts!r:.300}"
        ) from error
