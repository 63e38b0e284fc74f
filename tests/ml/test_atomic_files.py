"""Files and directories appear whole or not at all, with the same bytes for the same content."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ml.atomic_files import atomic_directory, atomic_file, sha256_file, write_json
from ml.training.tensor_files import write_tensors


class Fault(Exception):
    pass


def _write_half(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        raise Fault


def _fill_half(path: Path) -> None:
    with atomic_directory(path) as draft:
        (draft / "file").write_text("x")
        raise Fault


def test_a_fault_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(Fault):
        _write_half(path)
    assert path.read_text() == "old"
    with pytest.raises(Fault):
        _fill_half(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_existing_directory_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="remove it or choose"), atomic_directory(tmp_path):
        pass


def test_json_is_sorted_and_refuses_what_is_not_a_number(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": 1, "c": 2}})
    write_json(tmp_path / "b.json", {"a": {"c": 2, "d": 1}, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"a": float("inf")})
    assert not (tmp_path / "c.json").exists()


def test_tensors_have_the_same_bytes_whatever_their_order_and_stride(tmp_path: Path) -> None:
    a, b = torch.arange(6).reshape(2, 3), torch.ones(4, requires_grad=True)
    write_tensors(tmp_path / "one", {"a": a.T, "b": b})
    write_tensors(tmp_path / "two", {"b": b, "a": a.T.contiguous()})
    assert sha256_file(tmp_path / "one") == sha256_file(tmp_path / "two")
    assert torch.equal(load_file(tmp_path / "one")["a"], a.T)
