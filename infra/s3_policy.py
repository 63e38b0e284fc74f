"""The rights that the S3 store needs, as a policy document; who is given them is decided where it is attached."""

import copy
import json
from pathlib import Path
from typing import Any

POLICY = Path(__file__).parent / "iam" / "object_store_policy.json"
# What an IAM policy, which is attached to whom it is for, becomes a part of for SSE-KMS.
KMS_ACTIONS = ["kms:Decrypt", "kms:GenerateDataKey"]


def object_store_policy(bucket: str, prefix: str = "", *, kms_key_arn: str | None = None) -> dict[str, Any]:
    """The least rights with which S3ObjectStore works on `prefix` of `bucket`, as an IAM policy.

    Args:
        bucket: the bucket's name.
        prefix: as given to S3ObjectStore; "" for the whole bucket.
        kms_key_arn: the key of `sse="aws:kms"`, if it is not the account's default key for S3.
    """
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    text = POLICY.read_text(encoding="utf-8").replace("${bucket}", bucket).replace("${prefix}/", below)
    policy = json.loads(text)
    if kms_key_arn is not None:
        policy["Statement"].append(
            {"Sid": "UseTheKey", "Effect": "Allow", "Action": KMS_ACTIONS, "Resource": kms_key_arn}
        )
    return policy


def as_bucket_policy(policy: dict[str, Any], *, principal_arn: str) -> dict[str, Any]:
    """The same rights as a policy of the bucket for one principal, for servers without IAM (Ceph)."""
    statements = copy.deepcopy(policy["Statement"])
    for statement in statements:
        statement["Principal"] = {"AWS": [principal_arn]}
    return {**policy, "Statement": statements}
