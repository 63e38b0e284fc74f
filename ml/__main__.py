"""``python -m ml``: the command line of child processes and pods; parses, and hands each verb to its file."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

VERBS = {
    "train": "CTR pre-training or a model bundle, from a TrainSpec",
    "graph": "a similarity graph, from a GraphSpec",
    "score": "predictions of a day by a bundle, from a ScoreSpec",
    "inspect": "what a bundle leans on, found on a sample of a day, from an InspectionSpec",
}
REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code: 0 done, 1 failed, 2 refused (message on stderr), 143 terminated."""
    return _run(_parse(arguments))


def supervised_main() -> int:
    """``main`` in a process of its own for the verb that memory ends soonest: see ``ml.commands.supervisor``."""
    parsed = _parse(None)
    if parsed.verb != "train" or not hasattr(os, "fork"):
        return _run(parsed)
    from ml.commands.supervisor import supervised

    return supervised(lambda: _run(parsed), out=parsed.out)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, description in VERBS.items():
        verb = verbs.add_parser(name, help=description, description=description)
        verb.add_argument("--spec", type=Path, required=True, help="JSON file")
        verb.add_argument("--out", type=Path, required=True, help="directory that is empty or absent")
    return parser.parse_args(arguments)


def _run(parsed: argparse.Namespace) -> int:
    # Imported where they are run: the process that supervises holds none of it.
    from ml.commands.specs import Refused

    verb = importlib.import_module(f"ml.commands.{parsed.verb}")
    try:
        return verb.run(parsed.spec, parsed.out)
    except Refused as refusal:
        print(f"python -m ml {parsed.verb}: refused\n{refusal}", file=sys.stderr)
        return REFUSED


def with_passive_threads() -> None:
    """Starts this process anew with OMP_WAIT_POLICY=PASSIVE if it is not set: spinning OpenMP threads cost 2.5 to 7
    times on busy cores, and the runtime reads the variable once, when it is loaded."""
    if "OMP_WAIT_POLICY" not in os.environ:
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


if __name__ == "__main__":
    with_passive_threads()
    sys.exit(supervised_main())
