"""One day's samples as memory-mapped integer matrices: the on-disk format and its checks, not how values become ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ml.data.fields import Stage

FORMAT = 2
"""2: weights, stages, elapsed times and delays."""
MANIFEST = "encoding.json"
ELAPSED = "elapsed.npy"
DELAY = "delay.npy"
STAGES: tuple[Stage, ...] = ("cart", "favourite")
"""Stages beside click and conversion that a log may have."""


class EncodingMismatch(ValueError):
    """An encoded day's files are not what its manifest, or the caller, says that they are."""


class EncodedFile(BaseModel):
    """Size in bytes and sha256 (hex) of one array file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class EncodingManifest(BaseModel):
    """What an encoded day was made from, and the hashes of its files; written last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    rows: int
    columns: tuple[str, ...]
    sequences: tuple[str, ...]
    samples_content_id: str
    vocabulary_digest: str
    files: dict[str, EncodedFile]


@dataclass(frozen=True, eq=False)
class EncodedDay:
    """The encoded rows of one day, in the row order of its samples.

    ``features`` int32 [n, C] global row ids; ``sequences`` name → int32 [n, L] global row ids, newest last, -1
    padding first; ``click`` and ``conversion`` uint8 [n] (0/1); ``value`` float32 [n], 0 where there is none.
    ``sequence_weights`` float32 [n, L] for weighted sequences, finite and ≥ 0, 0 where padded; ``stages`` "cart" and
    "favourite" uint8 [n] (0/1) where the log has them. ``elapsed`` and ``delay`` float32 [n] in seconds: from the click
    (the impression, if there is none) to the label horizon, +inf where labels are final, and from the click to the
    conversion, NaN without one; both None if the samples do not say. Loaded arrays are read-only memory maps.

    In memory ``conversion`` may be float32: targets of the loss in place of labels (training/delayed_feedback).
    """

    features: npt.NDArray[np.int32]
    sequences: Mapping[str, npt.NDArray[np.int32]]
    click: npt.NDArray[np.uint8]
    conversion: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    value: npt.NDArray[np.float32]
    vocabulary_digest: str
    samples_content_id: str
    sequence_weights: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    stages: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    elapsed: npt.NDArray[np.float32] | None = None
    delay: npt.NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        """Number of samples n."""
        return int(self.features.shape[0])

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        vocabulary_digest: str | None = None,
        samples_content_id: str | None = None,
        verify_hashes: bool = True,
    ) -> EncodedDay:
        """Maps the encoded day in directory ``path`` into memory.

        File sizes are always verified, sha256 unless ``verify_hashes`` is false (a second load of files that this
        process has verified already). Raises ``EncodingMismatch`` when the manifest is missing, a file differs
        from it, or the day was made with another vocabulary or from other samples than the caller names.
        """
        manifest = read_manifest(path)
        for what, found, wanted in (
            ("vocabulary", manifest.vocabulary_digest, vocabulary_digest),
            ("samples", manifest.samples_content_id, samples_content_id),
        ):
            if wanted is not None and found != wanted:
                raise EncodingMismatch(
                    f"{path} was encoded from {what} {found}, but {wanted} is wanted: encode the day again"
                )
        for name, expected in manifest.files.items():
            _verify(path / name, expected, hashes=verify_hashes)
        day = cls(
            features=_map(path / "features.npy"),
            sequences={name: _map(path / sequence_file(name)) for name in manifest.sequences},
            click=_map(path / "click.npy"),
            conversion=_map(path / "conversion.npy"),
            value=_map(path / "value.npy"),
            vocabulary_digest=manifest.vocabulary_digest,
            samples_content_id=manifest.samples_content_id,
            sequence_weights={
                name: _map(path / weights_file(name))
                for name in manifest.sequences
                if weights_file(name) in manifest.files
            },
            stages={stage: _map(path / stage_file(stage)) for stage in STAGES if stage_file(stage) in manifest.files},
            elapsed=_map(path / ELAPSED) if ELAPSED in manifest.files else None,
            delay=_map(path / DELAY) if DELAY in manifest.files else None,
        )
        if day.features.shape != (manifest.rows, len(manifest.columns)):
            raise EncodingMismatch(
                f"{path}: features are {day.features.shape}, the manifest says "
                f"{(manifest.rows, len(manifest.columns))}: delete the directory and encode the day again"
            )
        return day


def sequence_file(name: str) -> str:
    """File name of the sequence ``name`` in an encoded day's directory."""
    return f"sequence.{name}.npy"


def weights_file(name: str) -> str:
    """File name of the weights of the sequence ``name``."""
    return f"weights.{name}.npy"


def stage_file(stage: str) -> str:
    """File name of the labels of ``stage``."""
    return f"stage.{stage}.npy"


def is_outdated(path: Path) -> bool:
    """Whether directory ``path`` holds an encoded day of an older format than this code writes."""
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("format")
    except FileNotFoundError:
        return False
    return isinstance(found, int) and found < FORMAT


def read_manifest(path: Path) -> EncodingManifest:
    """The manifest of the encoded day in directory ``path``; raises ``EncodingMismatch`` if there is none."""
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EncodingMismatch(f"{path} holds no {MANIFEST}, so it is no finished encoded day: encode it") from None
    found = json.loads(text).get("format")
    if found != FORMAT:
        raise EncodingMismatch(f"{path} has encoding format {found!r}, this code reads {FORMAT}: encode it again")
    return EncodingManifest.model_validate_json(text)


def write_manifest(
    path: Path,
    *,
    rows: int,
    columns: tuple[str, ...],
    sequences: tuple[str, ...],
    samples_content_id: str,
    vocabulary_digest: str,
) -> None:
    """Hashes the array files in directory ``path`` and writes its manifest, the last file of an encoded day."""
    files = {
        file.name: EncodedFile(bytes=file.stat().st_size, sha256=file_sha256(file))
        for file in sorted(path.glob("*.npy"))
    }
    manifest = EncodingManifest(
        rows=rows,
        columns=columns,
        sequences=sequences,
        samples_content_id=samples_content_id,
        vocabulary_digest=vocabulary_digest,
        files=files,
    )
    (path / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in bounded memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(file: Path, expected: EncodedFile, *, hashes: bool) -> None:
    remedy = "delete the directory and encode the day again"
    if not file.is_file():
        raise EncodingMismatch(f"{file} is missing: {remedy}")
    size = file.stat().st_size
    if size != expected.bytes:
        raise EncodingMismatch(f"{file} has {size} bytes, its manifest says {expected.bytes}: {remedy}")
    if hashes and (digest := file_sha256(file)) != expected.sha256:
        raise EncodingMismatch(f"{file} has sha256 {digest}, its manifest says {expected.sha256}: {remedy}")


def _map(file: Path) -> npt.NDArray:
    return np.load(file, mmap_mode="r", allow_pickle=False)
