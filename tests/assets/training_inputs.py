"""Artifacts as of a day that stand for embeddings and graphs; what is in them, no stand-in for a trainer reads."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import JsonValue

from assets.resources import Platform


def publish_inputs(platform: Platform, as_of: date, *, receipts: Mapping[str, JsonValue], folder: Path) -> None:
    """What experiments and searches as of the day read beside samples; `folder` is where files are made."""
    folder.mkdir()
    for name in ("table.safetensors", "graph.safetensors", "vocabulary.json"):
        (folder / name).write_text(name)
    publish, day = platform.artifacts.publish, as_of.isoformat()
    embeddings = {"table.safetensors": folder / "table.safetensors", "vocabulary/v": folder / "vocabulary.json"}
    publish(f"ctr_embeddings/{day}", embeddings, metadata={"identity": "e", "receipts": dict(receipts)})
    for side in ("user", "item"):
        graph = {"graph.safetensors": folder / "graph.safetensors"}
        publish(f"{side}_graph/{day}", graph, metadata={"embedding_id": "e"})
