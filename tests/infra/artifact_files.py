"""Small artifacts for tests: files to publish, and what is read of them."""

from pathlib import Path

from infra.artifacts import ArtifactStore

KEY = "samples/day=2026-01-01"


def sources(folder: Path, **contents: bytes) -> dict[str, Path]:
    """The files, written, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def read(artifacts: ArtifactStore, key: str = KEY) -> dict[str, bytes] | None:
    """Contents by name of what is published; None where nothing is."""
    if artifacts.find(key) is None:
        return None
    artifact = artifacts.open(key)
    return {name: artifact.path(name).read_bytes() for name in artifact.manifest.files}
