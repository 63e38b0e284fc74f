"""Credentials of the S3 store: renewed where they come from a role, and never shown."""

import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.s3_object_store import S3ObjectStore, S3Refused
from tests.infra.ceph_server import Ceph, CephUser
from tests.infra.fault_proxy import FaultProxy, Request


def test_a_roles_credentials_are_renewed_when_they_expire(
    s3_endpoint: str, s3_store: S3ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As with IRSA: boto3 exchanges the pod's token for keys, and again before they expire."""
    (tmp_path / "token").write_text("token-of-the-pod")
    exchanged = []

    def count(request: Request) -> None:
        if request.method == "POST":
            exchanged.append(request.path)

    with FaultProxy(s3_endpoint).running() as sts:
        sts.fault = count
        for name, value in {
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/worker",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ENDPOINT_URL_STS": sts.endpoint,
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        store = S3ObjectStore(s3_store.bucket, cache=tmp_path / "c", endpoint_url=s3_endpoint, path_style=True)
        store.put_bytes("key", b"1")
        store.put_bytes("key", b"2")
        assert len(exchanged) == 1
        credentials = store._client._request_signer._credentials
        credentials._refresh_using.__self__._cache.clear()
        credentials._expiry_time = datetime.now(UTC) + timedelta(seconds=1)
        store.put_bytes("key", b"3")
        assert len(exchanged) == 2


def test_an_endpoint_with_credentials_is_refused_without_repeating_them(tmp_path: Path):
    with pytest.raises(ValueError, match="endpoint holds credentials") as caught:
        S3ObjectStore("bucket", cache=tmp_path, endpoint_url="http://user:hidden-from-all@127.0.0.1:9")
    assert "hidden-from-all" not in str(caught.value)


def test_a_key_of_kms_without_kms_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"sse='AES256'.*set sse to 'aws:kms'"):
        S3ObjectStore("bucket", cache=tmp_path, region="eu-west-1", sse="AES256", sse_kms_key_id="key")


@pytest.mark.parametrize(
    ("access", "secret", "code"),
    [("unknown-to-the-server", "hidden-from-all", "InvalidAccessKeyId"), (None, "hidden-from-all", "SignatureDoes")],
)
def test_wrong_credentials_are_named_by_their_fault_alone(
    ceph: Ceph, ceph_bucket: str, ceph_worker: CephUser, tmp_path: Path, access: str | None, secret: str, code: str
):
    store = S3ObjectStore(
        ceph_bucket,
        cache=tmp_path,
        endpoint_url=ceph.endpoint,
        path_style=True,
        access_key_id=access or ceph_worker.access_key_id,
        secret_access_key=SecretStr(secret),
        session_token=None,
    )
    with pytest.raises(S3Refused, match=rf"{code}.*correct the credentials") as caught:
        store.get_bytes("key")
    told = f"{store!r} {''.join(traceback.format_exception(caught.value))}"
    for hidden in ("hidden-from-all", ceph_worker.secret_access_key, access or ceph_worker.access_key_id):
        assert hidden not in told


def test_ceph_says_whose_clock_is_wrong(ceph_store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch):
    """The whole process an hour late, as botocore and we see it."""
    import botocore.auth

    from infra.s3_object_store import ClockSkewed

    late, clock = timedelta(hours=1), botocore.auth.get_current_datetime
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *a, **k: clock(*a, **k) - late)
    monkeypatch.setattr("infra.s3_errors._now", lambda: datetime.now(UTC) - late)
    for call in (ceph_store.get_bytes, ceph_store.exists, ceph_store.delete):
        with pytest.raises(ClockSkewed, match="set the clock"):
            call("key")
