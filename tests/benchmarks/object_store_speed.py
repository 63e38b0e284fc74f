"""The S3 store's throughput beside plain boto3's transfer on one server: a throw-away Ceph, or any other by address.

`python -m tests.benchmarks.object_store_speed`: one JSON line a direction and size. The two take turns: `ratio` is that
of the medians, `pairs` are the lowest, middle and highest of the turns' own. `--refused 0.05` has 5 % of the requests
answered with 503. Credentials for a server of one's own are boto3's usual environment variables.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infra.s3_object_store import S3ObjectStore
from tests.infra.ceph_server import ceph_server, missing_parts
from tests.infra.fault_proxy import Fault, FaultProxy, Request

MEBIBYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="an S3 server; a throw-away Ceph if absent")
    parser.add_argument("--mebibytes", default="8,32,64,128,256", help="file sizes, by comma")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--refused", type=float, default=0.0, help="share of requests that are answered with 503")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postclick-bench-") as folder, _server(arguments, Path(folder)) as store:
        for size in map(int, arguments.mebibytes.split(",")):
            for measurement in compare(store, Path(folder), size, repetitions=arguments.repetitions):
                print(json.dumps(measurement), flush=True)


def compare(store: S3ObjectStore, folder: Path, mebibytes: int, *, repetitions: int) -> Iterator[dict[str, Any]]:
    """Medians of both, in MiB/s, for putting and fetching a file of random bytes."""
    import boto3
    from botocore.config import Config

    session = store._client.meta
    credentials = store._client._request_signer._credentials
    plain = boto3.client(
        "s3",
        endpoint_url=session.endpoint_url,
        region_name=session.region_name,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        # Ceph 16 refuses the trailers that boto3 sends by default
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    source, target = folder / "source.bin", folder / "target.bin"
    source.write_bytes(os.urandom(mebibytes * MEBIBYTE))
    ways: dict[str, dict[str, Callable[[], object]]] = {
        "put": {
            "postclick": lambda: store.put_file("ours", source),
            "boto3": lambda: plain.upload_file(str(source), store.bucket, "theirs"),
        },
        "fetch": {
            "postclick": lambda: store.fetch_file("ours", fresh=True),
            "boto3": lambda: plain.download_file(store.bucket, "theirs", str(target)),
        },
    }
    for direction, calls in ways.items():
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for repetition in range(repetitions + 1):
            for name in list(calls)[:: 1 if repetition % 2 else -1]:
                begun = time.perf_counter()
                calls[name]()
                if repetition:  # the first warms connections and page cache
                    seconds[name].append(time.perf_counter() - begun)
        rates = {name: mebibytes / statistics.median(times) for name, times in seconds.items()}
        turns = sorted(theirs / ours for ours, theirs in zip(seconds["postclick"], seconds["boto3"], strict=True))
        yield {
            "object_store": direction,
            "mebibytes": mebibytes,
            **{f"{name}_mebibytes_per_second": round(rate, 1) for name, rate in rates.items()},
            "ratio": round(rates["postclick"] / rates["boto3"], 2),
            "pairs": [round(ratio, 2) for ratio in (turns[0], statistics.median(turns), turns[-1])],
        }


@contextlib.contextmanager
def _server(arguments: argparse.Namespace, folder: Path) -> Iterator[S3ObjectStore]:
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {"endpoint_url": arguments.endpoint}
        if arguments.endpoint is None:
            if missing := missing_parts():
                raise SystemExit(f"no Ceph on this machine ({', '.join(missing)} not found): give --endpoint")
            ceph = stack.enter_context(ceph_server(folder / "ceph"))
            user = ceph.user("bench")
            settings = {
                "endpoint_url": ceph.endpoint,
                "access_key_id": user.access_key_id,
                "secret_access_key": SecretStr(user.secret_access_key),
            }
        if arguments.refused:
            proxy = stack.enter_context(FaultProxy(settings["endpoint_url"]).running())
            proxy.fault = partial(_refuse, random.Random(1), arguments.refused)
            settings["endpoint_url"] = proxy.endpoint
        store = S3ObjectStore(f"bench-{uuid.uuid4()}", cache=folder / "cache", path_style=True, **settings)
        store._client.create_bucket(Bucket=store.bucket)
        yield store


def _refuse(chance: random.Random, share: float, request: Request) -> Fault | None:
    return Fault(answer=(503, "SlowDown")) if chance.random() < share else None


if __name__ == "__main__":
    main()
