"""What the code server loads of infra must stay light."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_heavy_library_is_imported_with_infra():
    modules = [f"infra.{path.stem}" for path in sorted((ROOT / "infra").glob("*.py")) if path.stem != "__init__"]
    assert "infra.s3_object_store" in modules
    program = f"""
import sys
import {", ".join(modules)}
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"boto3", "botocore", "wandb", "torch", "dagster"}}))
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert answer.stdout == "[]\n"
