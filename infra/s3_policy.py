"""The rights that the S3 store and the feed need, as policy documents; who is given them is decided elsewhere."""

import copy
import json
from pathlib import Path
from typing import Any

POLICY = Path(__file__).parent / "iam" / "object_store_policy.json"
FEED_POLICY = Path(__file__).parent / "iam" / "feed_policy.json"
# What an IAM policy, which is attached to whom it is for, becomes a part of for SSE-KMS.
KMS_ACTIONS = ["kms:Decrypt", "kms:GenerateDataKey"]


def object_store_policy(bucket: str, prefix: str = "", *, kms_key_arn: str | None = None) -> dict[str, Any]:
    """The least rights with which S3ObjectStore works on `prefix` of `bucket`, as an IAM policy.

    Args:
        bucket: the bucket's name.
        prefix: as given to S3ObjectStore; "" for the whole bucket.
        kms_key_arn: the key of `sse="aws:kms"`, if it is not the account's default key for S3.
    """
    return _filled(POLICY, bucket, prefix, kms_key_arn=kms_key_arn, kms_actions=KMS_ACTIONS)


def feed_policy(bucket: str, prefix: str = "", *, kms_key_arn: str | None = None) -> dict[str, Any]:
    """The least rights with which S3Feed copies objects below `prefix` of `bucket`: nothing can be written with them.

    Args:
        bucket: the bucket's name.
        prefix: the folder in which a dataset spec's paths have their first `{day}` or wildcard, such as "shop" for
            s3://bucket/shop/{day}/*.parquet; "" for the whole bucket.
        kms_key_arn: the key that the objects are encrypted with, if it is not the account's default key for S3.
    """
    return _filled(FEED_POLICY, bucket, prefix, kms_key_arn=kms_key_arn, kms_actions=KMS_ACTIONS[:1])


def _filled(
    document: Path, bucket: str, prefix: str, *, kms_key_arn: str | None, kms_actions: list[str]
) -> dict[str, Any]:
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    text = document.read_text(encoding="utf-8").replace("${bucket}", bucket).replace("${prefix}/", below)
    policy = json.loads(text)
    if kms_key_arn is not None:
        policy["Statement"].append(
            {"Sid": "UseTheKey", "Effect": "Allow", "Action": kms_actions, "Resource": kms_key_arn}
        )
    return policy


def as_bucket_policy(policy: dict[str, Any], *, principal_arn: str) -> dict[str, Any]:
    """The same rights as a policy of the bucket for one principal, for servers without IAM (Ceph)."""
    statements = copy.deepcopy(policy["Statement"])
    for statement in statements:
        statement["Principal"] = {"AWS": [principal_arn]}
    return {**policy, "Statement": statements}
