"""What S3 servers and boto3 report, as errors of this package that say what to do; nothing is tried again here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from infra.object_keys import ObjectMissing, ObjectStoreError

MISSING = ("NoSuchKey", "404", "NotFound")
DENIED = ("AccessDenied", "403", "Forbidden")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
SKEWED = ("RequestTimeTooSkewed", "RequestInTheFuture")
# S3 refuses a request that was signed further from its own time than this.
MAX_SKEW = timedelta(minutes=15)
REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct its name in the settings",
    "AccessDenied": "give these credentials the rights of infra/iam/object_store_policy.json on bucket and prefix",
    "InvalidAccessKeyId": "correct the credentials",
    "InvalidToken": "correct the credentials: the session token belongs to other keys or another service",
    "SignatureDoesNotMatch": "correct the credentials, and check this machine's clock",
    "XAmzContentSHA256Mismatch": "the bytes changed on their way and nothing was written: check network and memory",
    "BadDigest": "the bytes changed on their way and nothing was written: check network and memory",
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        "the bucket lies in another region or on another server: set the region in the settings to the bucket's, and "
        "check the endpoint",
    ),
    "QuotaExceeded": "free space in the bucket, or raise its quota",
    "SlowDown": "the server was too busy through all attempts: run again later, or with fewer runs at once",
    "ServiceUnavailable": "the server was too busy through all attempts: run again later",
    "InternalError": "the server failed through all attempts: see its log, then run again",
}
# Answers that may mean the key of an encryption. AWS has codes of its own for unknown and disabled keys, KMS.…; Ceph
# calls an unknown one InvalidAccessKeyId, as if the credentials were.
KEY_MAY_BE_REFUSED = (*DENIED, "InvalidAccessKeyId", "InvalidArgument")
KMS_REMEDY = (
    "check the key of aws:kms ({key}): its id, that it is enabled, and that these credentials may use it "
    "(kms:GenerateDataKey, kms:Decrypt)"
)


class S3Refused(ObjectStoreError):
    """The S3 server answered with an error that is no ordinary absence or lost race."""


class CredentialsExpired(S3Refused):
    """The credentials were good for a limited time, and that is over."""


class ClockSkewed(S3Refused):
    """This machine's clock and the server's differ by more than S3 allows."""


@contextlib.contextmanager
def translated(
    verb: str,
    key: str,
    *,
    location: str,
    passing: tuple[str, ...] = (),
    absent: Callable[[], bool] = lambda: False,
    kms_key: str | None = None,
    remedies: Mapping[str, str] = REMEDIES,
) -> Iterator[None]:
    """botocore's errors as this package's, without anything of the credentials.

    Args:
        verb: what was tried, for the message.
        key: with what; `location` says where.
        passing: HTTP statuses whose ClientError is let through.
        absent: asked on "access denied" whether there is no such object: AWS says so instead of "not found" to those
            who may list a prefix only.
        kms_key: the key, in words, that the server encrypts these objects with: what it refuses may be that.
        remedies: what to do about the server's codes.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    what = f"cannot {verb} {key!r} in {location}"
    try:
        yield
    except ClientError as error:
        if str(_status(error)) in passing:
            raise
        if error.response["Error"]["Code"] in MISSING:
            raise ObjectMissing(key, location) from None
        refusal = _refusal(what, error, kms_key=kms_key, remedies=remedies)
        denied = type(refusal) is S3Refused and error.response["Error"]["Code"] in DENIED
        if denied and absent():
            raise ObjectMissing(key, location) from None
        raise refusal from error
    except BotoCoreError as error:
        raise S3Refused(f"{what}: {error}: check the endpoint, the network, the credentials") from error


def _refusal(what: str, error: Any, *, kms_key: str | None, remedies: Mapping[str, str]) -> S3Refused:
    code, status, skew = error.response["Error"]["Code"], _status(error), _skew(error)
    # the answer to HEAD has no body and with it no code: the server's clock is in its header all the same
    if code in SKEWED or (status == 403 and skew is not None and abs(skew) > MAX_SKEW):
        apart = "" if skew is None else f" by {abs(skew).total_seconds():.0f} s"
        return ClockSkewed(
            f"{what}: {code} (HTTP {status}): this machine's clock and the server's differ{apart}, at most "
            f"{MAX_SKEW.total_seconds():.0f} s are allowed: set the clock (NTP), then run again"
        )
    if code in EXPIRED:
        return CredentialsExpired(
            f"{what}: {code} (HTTP {status}): the credentials have expired: get new ones and run again; keys that "
            "must outlast a run come from a role (IRSA, instance profile), which boto3 renews by itself"
        )
    advice = [remedies[known]] if (known := "AccessDenied" if code in DENIED else code) in remedies else []
    if code.startswith("KMS.") or (kms_key and code in KEY_MAY_BE_REFUSED):
        advice.insert(0, KMS_REMEDY.format(key=kms_key or "the object's"))
    remedy = "; or else ".join(advice) or "see the server's message, then run again"
    return S3Refused(f"{what}: {code} (HTTP {status}): {remedy}")


def _status(error: Any) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _skew(error: Any) -> timedelta | None:
    date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return _now() - parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None


def _now() -> datetime:
    return datetime.now(UTC)
