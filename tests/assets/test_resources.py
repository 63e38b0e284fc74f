"""The platform: scratch that goes away, children whose refusals are told from faults, values that are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.resources import DataRefused, Platform, RefusingIOManager
from infra.child_process import ChildFailed


def with_fake_ml(platform: Platform, folder: Path, body: str) -> Platform:
    """A platform whose children find a package `ml` that does what `body` says."""
    package = folder / "fake" / "ml"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "__main__.py").write_text(body, encoding="utf-8")
    return replace(platform, child_environment={"PYTHONPATH": str(package.parent)})


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without Postclick's own `ml`: `python -m` looks there first."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_scratch_is_gone_afterwards_also_when_the_work_failed(platform: Platform) -> None:
    with platform.scratch("join") as folder:
        (folder / "rows").write_bytes(b"1")
    with pytest.raises(ZeroDivisionError), platform.scratch("join") as failed:
        raise ZeroDivisionError
    assert not folder.exists()
    assert not failed.exists()


def test_two_pieces_of_work_have_folders_of_their_own(platform: Platform) -> None:
    with platform.scratch("join") as one, platform.scratch("join") as other:
        assert one != other


def test_a_child_gets_verb_spec_and_folder_and_its_lines_are_passed_on(platform: Platform, outside: Path) -> None:
    lines: list[str] = []
    fake = with_fake_ml(platform, outside, "import sys; print('told', *sys.argv[1:])")
    fake.run_ml("train", spec=Path("s.json"), out=Path("made"), on_line=lines.append)
    assert lines == ["told train --spec s.json --out made"]


def test_a_refusal_of_input_is_told_from_a_fault(platform: Platform, outside: Path) -> None:
    body = "import sys; print('days is empty'); sys.exit(int(sys.argv[1]))"
    fake = with_fake_ml(platform, outside, body)

    def run(exit_code: str, on_line: Callable[[str], None] = lambda line: None) -> None:
        fake.run_ml(exit_code, spec=Path("s.json"), out=Path("made"), on_line=on_line)

    with pytest.raises(DataRefused, match="days is empty"):
        run("2")
    with pytest.raises(ChildFailed, match=r"137.*out of memory"):
        run("137")


def test_values_are_neither_stored_nor_loaded_by_dagster() -> None:
    manager = RefusingIOManager()
    manager.handle_output(dg.build_output_context(name="nothing"), None)
    with pytest.raises(TypeError, match="returned a list"):
        manager.handle_output(dg.build_output_context(name="rows"), [1])
    with pytest.raises(TypeError, match=r"read it through Platform\.artifacts"):
        manager.load_input(dg.build_input_context(name="rows"))
