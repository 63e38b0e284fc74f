"""The code's version changes with any source that decides weights, and with nothing else."""

from __future__ import annotations

from pathlib import Path

from ml.code_version import code_version, source_digest


def _tree(root: Path) -> Path:
    (root / "models" / "layers").mkdir(parents=True)
    (root / "models" / "layers" / "a.py").write_text("1")
    (root / "models" / "b.sql").write_text("2")
    return root


def test_content_names_and_new_files_change_the_digest(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    digests = [source_digest(root, ("models",))]
    (root / "models" / "b.sql").write_text("3")
    digests.append(source_digest(root, ("models",)))
    (root / "models" / "b.sql").rename(root / "models" / "c.sql")
    digests.append(source_digest(root, ("models",)))
    (root / "models" / "d.py").write_text("")
    digests.append(source_digest(root, ("models",)))
    assert len(set(digests)) == 4


def test_other_files_and_folders_do_not(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    before = source_digest(root, ("models",))
    (root / "models" / "notes.md").write_text("x")
    (root / "evaluation").mkdir()
    (root / "evaluation" / "metrics.py").write_text("x")
    assert source_digest(root, ("models",)) == before


def test_this_codes_version_is_a_sha256() -> None:
    assert len(bytes.fromhex(code_version())) == 32
