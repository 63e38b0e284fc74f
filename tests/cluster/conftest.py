"""The cluster that the tests of this folder share, and the table of faults and outcomes at their end."""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.resources import Platform
from tests.cluster.kubelet import CPU_NODE, GPU_NODE, Kubelet, missing_namespaces
from tests.cluster.postgresql import missing_part as missing_database
from tests.cluster.postgresql import postgresql
from tests.infra.conftest import ceph, s3_endpoint
from tests.infra.kubernetes_manifests import needs_kubectl
from tests.infra.kubernetes_server import kubernetes_server, missing_part

__all__ = ["ceph", "s3_endpoint"]


@dataclass
class Cluster:
    """The deployment and its runs, the store's prefix in force, and the platform that reads it."""

    deployment: Any
    runs: Any
    store: Any
    home: Path
    prefix: str = ""

    @property
    def platform(self) -> Platform:
        return self.store.platform(self.prefix, self.home)

    @property
    def kubelet(self) -> Kubelet:
        return self.deployment.kubelet

    def use(self, prefix: str, *, store: Any = None) -> None:
        """Let pods that start from now on store below this prefix."""
        self.store, self.prefix = store or self.store, prefix
        self.deployment.set(**self.store.settings(prefix))
        self.deployment.set_keys(self.store.keys)

    def step_pods(self, run_id: str, step: str) -> list[str]:
        """Names of the pods that the step has had, oldest first, the present one last."""
        pods = self.deployment.pods(**{"dagster/run-id": run_id, "dagster/op": step})
        return [pod["metadata"]["name"] for pod in pods]

    def worker_pods(self, run_id: str) -> list[str]:
        """Names of the pods of the run's own worker."""
        pods = self.deployment.pods(**{"dagster/run-id": run_id, "app.kubernetes.io/component": "run_worker"})
        return [pod["metadata"]["name"] for pod in pods]

    def node_of(self, run_id: str, step: str) -> str:
        """The node that the step ran on."""
        return self.kubelet.placed[self.step_pods(run_id, step)[-1]]

    def training_pod(self, run_id: str, *, saying: str = "", kept: bool = False) -> str:
        """Wait until `cvr_model`'s pod has printed `saying`, and with `kept` has stored a checkpoint."""

        def ready() -> str | None:
            names = [name for name in self.step_pods(run_id, "cvr_model") if self.kubelet.log(name)]
            if not names or saying not in self.kubelet.log(names[-1]):
                return None
            return names[-1] if not kept or list(self.platform.artifacts.keys("checkpoints/")) else None

        return self.runs.until(ready, what="cvr_model to train in its pod")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: str) -> Iterator[Cluster]:
    for reason in (missing_part(), missing_database(), missing_namespaces()):
        if reason:
            pytest.skip(reason)
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")
    pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed: pip install -e .[k8s]")
    needs_kubectl()
    from tests.cluster.deployment import IMAGE, Deployment
    from tests.cluster.runs import Runs, open_database
    from tests.cluster.stores import Store

    # A line for each request would bury what failed.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    store = Store(s3_endpoint, {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "made-up"})
    store.create()
    folder = tmp_path_factory.mktemp("cluster")
    with kubernetes_server(folder / "kubernetes") as server, postgresql() as database:
        kubelet = Kubelet(server, folder / "pods", nodes=[CPU_NODE, GPU_NODE], image=IMAGE)
        deployment = Deployment(server, kubelet, database)
        instance = open_database(folder / "dagster", database)
        (folder / "pods").mkdir()
        kubelet.start()
        try:
            deployment.apply(store.settings("none"), store.keys)
            runs = Runs(instance, code_port=deployment.code_port)
            yield Cluster(deployment, runs, store, folder / "home")
        finally:
            kubelet.stop()
            instance.dispose()


@pytest.fixture
def clean(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with nothing of other tests running in it."""
    yield cluster
    cluster.deployment.clear()


@pytest.fixture(scope="session")
def data(cluster: Cluster) -> str:
    """The run that made the days' data, in pods, below the prefix `data`."""
    from tests.cluster.chain_state import DAYS

    cluster.use("data")
    run_id = cluster.runs.data(DAYS)
    cluster.runs.end(run_id)
    return run_id


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, data: str) -> str:
    """The run that made the model from the data, below the prefix `undisturbed`; nothing was done to it."""
    from tests.cluster.chain_state import AS_OF

    cluster.store.copy("data", "undisturbed")
    cluster.use("undisturbed")
    run_id = cluster.runs.models(AS_OF)
    cluster.runs.end(run_id)
    return run_id


_numbers = itertools.count()


@pytest.fixture
def before_training(clean: Cluster, undisturbed: str) -> Cluster:
    """A prefix of the test's own with all that `cvr_model` needs, and nothing that comes of it."""
    prefix = f"fault-{next(_numbers)}"
    judged = ("models/", "cvr_model/", "evaluation_report/", "registry/", "leases/", "model_history/", "checkpoints/")
    clean.store.copy("undisturbed", prefix, without=judged)
    clean.use(prefix)
    return clean


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Enter the test's line into the table: what was done, and what came of it."""

    def tell(*, fault: str, outcome: str) -> None:
        record_property("fault", fault)
        record_property("outcome", outcome)

    return tell


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = []
    for report in (report for report in reports if report.when == "call" and "tests/cluster/" in report.nodeid):
        found = dict(report.user_properties)
        if found or report.failed:
            name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
            outcome = "NOT AS IT SHOULD BE" if report.failed else found["outcome"]
            rows.append((name, str(found.get("fault", "")), str(outcome), f"{report.duration:.0f} s"))
    if not rows:
        return
    rows.insert(0, ("scenario", "fault", "outcome", "time"))
    terminalreporter.section("faults and outcomes")
    for row in rows:
        terminalreporter.write_line("| " + " | ".join(row) + " |")
        if row is rows[0]:
            terminalreporter.write_line("|" + " --- |" * len(row))
