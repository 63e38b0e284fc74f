"""Requests to a Kubernetes API server on loopback, as its administrator or as one of its accounts."""

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


class KubernetesClient:
    """The administrator, by `token`, at the API server `server`, whose certificate `authorities` vouches for."""

    def __init__(self, server: str, *, authorities: Path, token: str) -> None:
        self.server = server
        self._authorities = authorities
        self._token = token

    def account(self, namespace: str, name: str) -> "ApiClient":
        """A client that may do what a ServiceAccount may, by a token that the API server issued to it."""
        from kubernetes import client

        configuration = client.Configuration(host=self.server)
        configuration.ssl_ca_cert = str(self._authorities)
        configuration.api_key = {"authorization": f"Bearer {self.token(namespace, name)}"}
        return client.ApiClient(configuration)

    def token(self, namespace: str, name: str) -> str:
        """A token of a ServiceAccount, issued by the API server for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["api"]}}
        status, answer = self.ask("POST", path, request)
        assert status == 201, answer
        return answer["status"]["token"]

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request by the administrator, or by whoever holds `token`: HTTP status and answer, refusals included."""
        content = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self.server + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {token or self._token}", "Content-Type": content},
        )
        context = ssl.create_default_context(cafile=str(self._authorities))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            status, text = refusal.code, refusal.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, {"message": text.decode(errors="replace")}

    def wait_for_account(self, namespace: str, name: str = "default", *, seconds: float = 30) -> None:
        """Wait until an account has its token's Secret: this API server refuses pods of one that has none yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _, account = self.ask("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
            if account.get("secrets"):
                return
            time.sleep(0.1)
        raise TimeoutError(f"ServiceAccount {namespace}/{name} has no token after {seconds} s")
