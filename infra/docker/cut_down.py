"""Deletes from a venv's site-packages what no process of Postclick reads."""

import shutil
import sys
from pathlib import Path

# Packages' own tests, what only compilers read (headers, static libraries), what only a browser's debugger asks for.
# Not folders called `test`: Dagster imports from one of its own.
UNREAD = ("**/tests", "torch/test", "**/include", "**/*.a", "**/*.js.map")
# torch's compiled tests lie beside the one program that it starts.
STARTED_BY_TORCH = "torch_shm_manager"


def cut_down(packages: Path) -> None:
    """Deletes below the folder `packages`; what lies in a `*.dist-info` is a licence or metadata and stays."""
    found = [path for pattern in UNREAD for path in packages.glob(pattern)]
    found += [path for path in packages.glob("torch/bin/*") if path.name != STARTED_BY_TORCH]
    for path in found:
        if path.relative_to(packages).parts[0].endswith(".dist-info"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            # Gone already where it lay in a folder that is.
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    if not (Path(sys.argv[1]) / "torch").is_dir():
        sys.exit(f"{sys.argv[1]} holds no torch: name the folder site-packages that everything was installed into")
    cut_down(Path(sys.argv[1]))
