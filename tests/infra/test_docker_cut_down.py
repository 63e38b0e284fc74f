"""What the images leave out of installed packages, on folders made up of empty files."""

import subprocess
import sys
from pathlib import Path

CUT_DOWN = Path(__file__).resolve().parents[2] / "infra" / "docker" / "cut_down.py"


def site_packages(folder: Path, files: list[str]) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def test_tests_headers_and_maps_are_cut_from_the_packages_and_nothing_else(tmp_path: Path):
    read = [
        "dagster/_utils/test/definitions.py",
        "jinja2/tests.py",
        "numpy-2.4.6.dist-info/licenses/numpy/_core/include/LICENSE.txt",
        "numpy-2.4.6.dist-info/licenses/numpy/tests/LICENSE.txt",
        "numpy/testing/__init__.py",
        "torch/bin/torch_shm_manager",
        "torch/lib/libtorch_cpu.so",
        "torch/testing/__init__.py",
        "webserver/build/main.js",
    ]
    unread = [
        "numpy/_core/include/numpy/arrayobject.h",
        "numpy/_core/lib/libnpymath.a",
        "nvidia/cu13/include/cublas.h",
        "pandas/tests/frame/tests/test_frame.py",
        "pandas/tests/include/x.h",
        "torch/bin/test_jit",
        "torch/include/torch/all.h",
        "torch/test/test_api",
        "webserver/build/main.js.map",
    ]
    packages = site_packages(tmp_path, read + unread)
    subprocess.run([sys.executable, str(CUT_DOWN), str(packages)], check=True)
    assert sorted(path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()) == read


def test_a_folder_without_torch_is_no_place_to_cut(tmp_path: Path):
    packages = site_packages(tmp_path, ["pandas/tests/test_frame.py"])
    ended = subprocess.run([sys.executable, str(CUT_DOWN), str(packages)], check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"{packages} holds no torch" in ended.stderr
    assert (packages / "pandas" / "tests" / "test_frame.py").exists()
