"""A throw-away one-node Ceph (monitor, in-memory OSD, S3 gateway) on loopback; what is stored in it is the tests'."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BINARIES = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "rados", "radosgw", "radosgw-admin")
START_SECONDS = 120
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = {addresses}
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail crit = 1
keyring = {folder}/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/log/$name.log
pid file = {folder}/run/$name.pid
setuser match path = {folder}
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
rgw enable usage log = false
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = {kms_keys}
"""
# Keys of aws:kms by their ids; the gateway's testing backend has them in its configuration.
KMS_KEY_IDS = ("first-key", "second-key")
KEYS = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.rgw": ("mon", "allow rw", "osd", "allow rwx"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
}


class CephUser(NamedTuple):
    """An S3 user of the gateway: `arn` names it in bucket policies."""

    arn: str
    access_key_id: str
    secret_access_key: str


class Ceph:
    """A running one-node Ceph; `endpoint` is its S3 address."""

    def __init__(self, folder: Path, *, endpoint: str) -> None:
        self._folder = folder
        self.endpoint = endpoint

    def user(self, name: str) -> CephUser:
        """A new S3 user with keys of its own and no rights in other users' buckets."""
        answer = _run(self._folder, "radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}")
        (keys,) = json.loads(answer)["keys"]
        return CephUser(f"arn:aws:iam:::user/{name}", keys["access_key"], keys["secret_key"])

    def on_disk(self, ending: str) -> bytes:
        """What the object store below the gateway holds of the one object whose name ends so."""
        pool = ("rados", "-p", "default.rgw.buckets.data")
        (name,) = [found for found in _run(self._folder, *pool, "ls").splitlines() if found.endswith(ending)]
        copy = self._folder / "on-disk"
        _run(self._folder, *pool, "get", name, str(copy))
        return copy.read_bytes()


def missing_parts() -> list[str]:
    """Names of the programs that this machine lacks for running a Ceph."""
    return [name for name in BINARIES if shutil.which(name) is None]


@contextlib.contextmanager
def ceph_server(folder: Path) -> Iterator[Ceph]:
    """A Ceph in an empty folder, ended with the block."""
    for name in ("mon", "osd", "rgw", "run", "log"):
        (folder / name).mkdir(parents=True)
    port, first, second = (_free_port() for _ in range(3))
    fsid, addresses = str(uuid.uuid4()), f"[v2:127.0.0.1:{first},v1:127.0.0.1:{second}]"
    kms_keys = " ".join(f"{name}={base64.b64encode(os.urandom(32)).decode()}" for name in KMS_KEY_IDS)
    (folder / "ceph.conf").write_text(
        CONFIGURATION.format(fsid=fsid, addresses=addresses, folder=folder, port=port, kms_keys=kms_keys),
        encoding="utf-8",
    )
    try:
        _start_cluster(folder, fsid=fsid, addresses=addresses)
        _run(folder, "radosgw", "-n", "client.rgw")
        _wait(lambda: _answers(port), "the S3 gateway")
        yield Ceph(folder, endpoint=f"http://127.0.0.1:{port}")
    finally:
        _stop(folder)


def _start_cluster(folder: Path, *, fsid: str, addresses: str) -> None:
    keyring, monmap = str(folder / "keyring"), str(folder / "monmap")
    _run(folder, "ceph-authtool", "--create-keyring", keyring)
    for name, capabilities in KEYS.items():
        pairs = [
            word
            for place in range(0, len(capabilities), 2)
            for word in ("--cap", capabilities[place], capabilities[place + 1])
        ]
        _run(folder, "ceph-authtool", keyring, "--gen-key", "-n", name, *pairs)
    _run(folder, "monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", addresses, monmap)
    _run(folder, "ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
    _run(folder, "ceph-mon", "-i", "a")
    osd = str(uuid.uuid4())
    _run(folder, "ceph", "osd", "new", osd)
    _run(folder, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    _run(folder, "ceph-osd", "-i", "0")
    _wait(lambda: "1 up" in _run(folder, "ceph", "osd", "stat"), "the OSD")


def _run(folder: Path, program: str, *arguments: str) -> str:
    command = [program, "-c", str(folder / "ceph.conf"), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {answer.returncode}: {answer.stderr[-2000:]}")
    return answer.stdout


def _wait(ready, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} of the throw-away Ceph was not up after {START_SECONDS} s")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _stop(folder: Path) -> None:
    """Ends the daemons by the pid files that they wrote: nothing in memory is worth a graceful end."""
    for pid_file in (folder / "run").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
