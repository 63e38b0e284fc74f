"""The shipped rights are enough (the contract runs with them on Ceph) and no more; the document is well formed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.s3_feed import FeedObjectRefused, S3Feed
from infra.s3_object_store import S3ObjectStore, S3Refused
from infra.s3_policy import as_bucket_policy, feed_policy, object_store_policy
from tests.infra.ceph_server import Ceph, CephUser


def test_bucket_and_prefix_are_filled_in():
    text = json.dumps(object_store_policy("data", "/team/shop/"))
    assert "arn:aws:s3:::data/team/shop/*" in text
    assert '"s3:prefix": "team/shop/*"' in text
    assert "$" not in text
    whole = object_store_policy("data")
    assert whole["Statement"][0]["Resource"] == "arn:aws:s3:::data/*"
    assert whole["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": "*"}}


def test_nothing_beyond_objects_and_their_listing_is_granted():
    actions = {
        action
        for statement in object_store_policy("data", "shop")["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert actions == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:PutObject",
    }


def test_a_key_of_kms_is_added_for_encryption():
    statement = object_store_policy("data", "shop", kms_key_arn="arn:aws:kms:eu-west-1:1:key/k")["Statement"][-1]
    assert (statement["Action"], statement["Resource"]) == (
        ["kms:Decrypt", "kms:GenerateDataKey"],
        "arn:aws:kms:eu-west-1:1:key/k",
    )


def test_a_bucket_policy_names_whom_it_is_for():
    policy = object_store_policy("data", "shop")
    filled = as_bucket_policy(policy, principal_arn="arn:aws:iam:::user/worker")
    assert all(statement["Principal"] == {"AWS": ["arn:aws:iam:::user/worker"]} for statement in filled["Statement"])
    assert all("Principal" not in statement for statement in policy["Statement"])


def test_another_prefix_is_refused(
    ceph: Ceph,
    ceph_bucket: str,
    ceph_owner: CephUser,
    ceph_worker: CephUser,
    connect: Callable[..., S3ObjectStore],
    tmp_path: Path,
):
    owners = connect(ceph.endpoint, bucket=ceph_bucket, user=ceph_owner, prefix="team/other")
    owners.put_bytes("secret", b"of others")
    etag = owners.get_bytes("secret").etag
    (tmp_path / "file").write_bytes(b"mine")
    for prefix in ("team/other", "team/postclick-too", "team", ""):
        stranger = connect(ceph.endpoint, bucket=ceph_bucket, user=ceph_worker, prefix=prefix)
        key = "secret" if prefix == "team/other" else "other/secret" if prefix == "team" else "secret-too"
        calls: list[Callable[[], object]] = [
            lambda stranger=stranger, key=key: stranger.get_bytes(key),
            lambda stranger=stranger, key=key: stranger.fetch_file(key),
            lambda stranger=stranger, key=key: stranger.open_file(key),
            lambda stranger=stranger, key=key: stranger.put_bytes(key, b"mine"),
            lambda stranger=stranger, key=key: stranger.create_bytes(key, b"mine"),
            lambda stranger=stranger, key=key: stranger.replace_bytes(key, b"mine", etag=etag),
            lambda stranger=stranger, key=key: stranger.put_file(key, tmp_path / "file"),
            lambda stranger=stranger, key=key: stranger.delete(key),
            lambda stranger=stranger: list(stranger.list_keys()),
            lambda stranger=stranger, key=key: stranger._client.create_multipart_upload(
                Bucket=ceph_bucket, Key=stranger.prefix + key
            ),
        ]
        for place, call in enumerate(calls):
            with pytest.raises(Exception, match=r"AccessDenied|HTTP 403") as caught:
                call()
            assert isinstance(caught.value, S3Refused) or place == len(calls) - 1
    assert owners.get_bytes("secret") == (b"of others", etag)
    assert list(owners.list_keys()) == ["secret"]


def test_nothing_of_the_bucket_itself_may_be_changed(ceph_store: S3ObjectStore):
    from botocore.exceptions import ClientError

    client, bucket = ceph_store._client, ceph_store.bucket
    for call in (client.delete_bucket, client.get_bucket_policy, client.delete_bucket_policy, client.list_objects_v2):
        with pytest.raises(ClientError, match="AccessDenied"):
            call(Bucket=bucket)


def test_the_feeds_rights_are_to_read_and_to_list_below_its_prefix():
    policy = feed_policy("data", "/shop/impressions/", kms_key_arn="arn:aws:kms:eu-west-1:1:key/k")
    assert [(statement["Action"], statement["Resource"]) for statement in policy["Statement"]] == [
        ("s3:GetObject", "arn:aws:s3:::data/shop/impressions/*"),
        ("s3:ListBucket", "arn:aws:s3:::data"),
        (["kms:Decrypt"], "arn:aws:kms:eu-west-1:1:key/k"),
    ]
    assert policy["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": "shop/impressions/*"}}
    assert feed_policy("data")["Statement"][0]["Resource"] == "arn:aws:s3:::data/*"


def test_with_the_feeds_rights_the_feed_is_read_and_nothing_else_of_the_bucket(
    ceph: Ceph, ceph_owner: CephUser, tmp_path: Path
):
    from botocore.exceptions import ClientError

    reader = ceph.user("reader")

    def feed_of(user: CephUser) -> S3Feed:
        return S3Feed(
            endpoint_url=ceph.endpoint,
            path_style=True,
            access_key_id=user.access_key_id,
            secret_access_key=SecretStr(user.secret_access_key),
        )

    feed, owners = feed_of(reader), feed_of(ceph_owner)._client
    owners.create_bucket(Bucket="logs")
    for name in ("shop/1/a.csv", "shop/1/b/c.csv", "shops/1/a.csv", "store/manifest"):
        owners.put_object(Bucket="logs", Key=name, Body=name.encode())
    rights = as_bucket_policy(feed_policy("logs", "shop"), principal_arn=reader.arn)
    owners.put_bucket_policy(Bucket="logs", Policy=json.dumps(rights))

    for number, pattern in enumerate(("shop/1/*", "shop/*/a.csv", "shop/**/*.csv", "shop/1/b/c.csv")):
        into = tmp_path / str(number)
        into.mkdir()
        copies = feed.fetch(f"s3://logs/{pattern}", into=into)
        assert copies
        assert all(copy.path.read_bytes().decode() in copy.address for copy in copies)
    for pattern in ("shops/1/*", "sho*/1/*", "*", "store/manifest"):
        with pytest.raises(S3Refused, match=r"cannot list .* AccessDenied .* infra/iam/feed_policy\.json"):
            feed.fetch(f"s3://logs/{pattern}", into=tmp_path)
    target: dict[str, Any] = {"Bucket": "logs", "Key": "shop/1/a.csv"}
    client = feed._client
    for call in (
        lambda: client.put_object(**target, Body=b"mine"),
        lambda: client.delete_object(**target),
        lambda: client.create_multipart_upload(**target),
        lambda: client.get_object(Bucket="logs", Key="store/manifest"),
        lambda: client.get_bucket_policy(Bucket="logs"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()

    # An object that another account wrote and kept to itself, as it seems to the reader: the day is refused.
    rights["Statement"][0]["Resource"] = "arn:aws:s3:::logs/shop/1/a.csv"
    owners.put_bucket_policy(Bucket="logs", Policy=json.dumps(rights))
    (tmp_path / "closed").mkdir()
    with pytest.raises(FeedObjectRefused, match=r"cannot get 'shop/1/b/c\.csv' in s3://logs/: AccessDenied"):
        feed.fetch("s3://logs/shop/**/*.csv", into=tmp_path / "closed")
