"""``python -m ml``: the command line of child processes and pods; parses, and hands each verb to its file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.commands import graph, score, train
from ml.commands.specs import Refused

VERBS = {
    "train": (train.run, "CTR pre-training or a model bundle, from a TrainSpec"),
    "graph": (graph.run, "a similarity graph, from a GraphSpec"),
    "score": (score.run, "predictions of a day by a bundle, from a ScoreSpec"),
}
REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code: 0 done, 1 failed, 2 refused (message on stderr), 143 terminated."""
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (_, description) in VERBS.items():
        verb = verbs.add_parser(name, help=description, description=description)
        verb.add_argument("--spec", type=Path, required=True, help="JSON file")
        verb.add_argument("--out", type=Path, required=True, help="directory that is empty or absent")
    parsed = parser.parse_args(arguments)
    try:
        return VERBS[parsed.verb][0](parsed.spec, parsed.out)
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
    sys.exit(main())
