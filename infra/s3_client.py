"""The boto3 client that all of Postclick speaks to S3 servers with; buckets and objects are not known here."""

import importlib.util
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from infra.object_keys import ObjectStoreError


def require_boto3() -> None:
    """Raise ObjectStoreError saying what to install where boto3 is not."""
    if importlib.util.find_spec("boto3") is None:
        raise ObjectStoreError("S3 needs boto3, which is not installed: pip install 'postclick[s3]'")


def s3_client(
    *,
    endpoint_url: str | None,
    region: str | None,
    path_style: bool,
    attempts: int,
    access_key_id: str | None = None,
    secret_access_key: SecretStr | None = None,
    session_token: SecretStr | None = None,
) -> Any:
    """A client; its arguments are explained where S3ObjectStore is.

    Raises ValueError for an endpoint with credentials in it, and ObjectStoreError without boto3.
    """
    if endpoint_url and "@" in urlsplit(endpoint_url).netloc:
        raise ValueError("the S3 endpoint holds credentials: leave them out, addresses are shown in messages")
    require_boto3()
    import boto3
    from botocore.config import Config

    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region or ("us-east-1" if endpoint_url else None),
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key.get_secret_value() if secret_access_key else None,
        aws_session_token=session_token.get_secret_value() if session_token else None,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            tcp_keepalive=True,
            # the signature covers the body, over TLS too: the one checksum that all servers verify
            s3={"addressing_style": "path" if path_style else "auto", "payload_signing_enabled": True},
            # the newer default checksums come as trailers, which several servers refuse; Ceph 16 ignores them
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
