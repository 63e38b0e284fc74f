"""A throw-away Kubernetes control plane on loopback (etcd, API server, scheduler, controllers); it runs no pods."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.infra.kubernetes_client import KubernetesClient

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

START_SECONDS = 120
END_SECONDS = 20


def program(name: str) -> str | None:
    """The path of a part of Kubernetes: from KUBEBUILDER_ASSETS, the field's usual variable, or from PATH."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return (shutil.which(name, path=folder) if folder else None) or shutil.which(name)


def missing_part() -> str | None:
    """Why no control plane can be started here, or None where everything is at hand."""
    for name, package in (("etcd", "etcd-server"), ("openssl", "openssl")):
        if shutil.which(name) is None:
            return f"{name} is not on PATH (Debian: apt-get install {package})"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        if program(name) is None:
            return f"{name} is neither in the folder that KUBEBUILDER_ASSETS names nor on PATH"
    return None


class KubernetesServer(KubernetesClient):
    """A control plane of its own folder and ports. Nodes, and whoever runs pods on them, are the test's.

    Args:
        folder: an empty or absent folder for its data, logs (`<part>.log`) and `kubeconfig`.
        controllers: with the controller-manager (Jobs make pods, quotas count, deletions cascade) and the scheduler.

    `kubeconfig` is the administrator's; `server` the API server's address; both stay the same over a restart.
    """

    def __init__(self, folder: Path, *, controllers: bool = True) -> None:
        self.folder = folder
        self.controllers = controllers
        self.kubeconfig = folder / "kubeconfig"
        self._certificates = folder / "certificates"
        self._etcd_port, self._etcd_peer_port, self._port = _free_ports(3)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        super().__init__(
            f"https://127.0.0.1:{self._port}",
            authorities=self._certificates / "apiserver.crt",
            token=secrets.token_hex(16),
        )

    def start(self) -> None:
        """Start every part and wait until it answers; RuntimeError holds the end of the log of what did not."""
        self._certificates.mkdir(parents=True, exist_ok=True)
        (self.folder / "tokens.csv").write_text(f'{self._token},admin,1,"system:masters"\n')
        subprocess.run(
            ["openssl", "genrsa", "-out", str(self.folder / "accounts.key"), "2048"], check=True, capture_output=True
        )
        try:
            self._start_etcd()
            self.start_api_server()
            if self.controllers:
                self._start_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every part; what they stored stays in the folder."""
        for name in reversed(list(self._processes)):
            self._end(name)

    def start_api_server(self) -> None:
        """Start the API server alone, after `stop_api_server`; what etcd holds is still there."""
        key = str(self.folder / "accounts.key")
        self._run(
            "kube-apiserver",
            [
                _part("kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self._port}",
                "--insecure-port=0",
                f"--cert-dir={self._certificates}",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-api-audiences=api",
                "--feature-gates=TTLAfterFinished=true",
                # No endpoint of its own is kept: its lease would outlive the tests' restarts.
                "--endpoint-reconciler-type=none",
            ],
        )
        self._wait("kube-apiserver", self._is_ready)
        self._write_kubeconfig()

    def stop_api_server(self) -> None:
        """End the API server alone, as an outage of it; scheduler and controllers go on trying."""
        self._end("kube-apiserver")

    def admin(self) -> "ApiClient":
        """A client that may do everything."""
        from kubernetes import config

        return config.new_client_from_config(str(self.kubeconfig))

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._etcd_peer_port}"
        self._run(
            "etcd",
            [
                "etcd",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
            ],
        )
        self._wait("etcd", lambda: _answers(f"{client}/health"))

    def _start_controllers(self) -> None:
        common = ["--port=0", "--secure-port=0", "--leader-elect=false", f"--kubeconfig={self.kubeconfig}"]
        key = f"--service-account-private-key-file={self.folder / 'accounts.key'}"
        root = f"--root-ca-file={self._authorities}"
        self._run("kube-controller-manager", [_part("kube-controller-manager"), *common, key, root])
        self._run("kube-scheduler", [_part("kube-scheduler"), *common])

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._processes[name].poll() is not None:
                raise RuntimeError(f"{name} ended with {self._processes[name].returncode}:\n{self._log_end(name)}")
            if ready():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{name} did not answer within {START_SECONDS} s:\n{self._log_end(name)}")

    def _is_ready(self) -> bool:
        # The server makes its certificate itself, a moment after it has started.
        if not self._authorities.exists():
            return False
        with contextlib.suppress(urllib.error.URLError, OSError):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def _log_end(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        # Killed: the API server takes a minute to end of itself, and nobody needs what it would tidy up.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(END_SECONDS)

    def _write_kubeconfig(self) -> None:
        cluster = {"server": self.server, "certificate-authority": str(self._authorities)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "current-context": "tests",
        }
        self.kubeconfig.write_text(yaml.safe_dump(content))


@contextlib.contextmanager
def kubernetes_server(folder: Path, *, controllers: bool = True) -> Iterator[KubernetesServer]:
    """A started control plane that is stopped in the end, whatever happened."""
    server = KubernetesServer(folder, controllers=controllers)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _part(name: str) -> str:
    found = program(name)
    if found is None:
        raise FileNotFoundError(missing_part() or name)
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
