"""Encryption by the S3 server: what every write asks for, and must see confirmed; no requests here."""

from collections.abc import Mapping
from typing import Any, Literal

from infra.s3_errors import S3Refused

Encryption = Literal["AES256", "aws:kms"]


class ServerSideEncryption:
    """What every object must be encrypted with, if anything: `arguments` go with each PUT and CreateMultipartUpload.

    Args:
        sse: None leaves it to the bucket's own settings.
        kms_key_id: the key of "aws:kms"; the server's default key if absent, which Ceph does not have.
    """

    def __init__(self, sse: Encryption | None, *, kms_key_id: str | None) -> None:
        if kms_key_id and sse != "aws:kms":
            raise ValueError(f"an SSE-KMS key was given with sse={sse!r}: set sse to 'aws:kms', or drop the key")
        self.sse = sse
        self.arguments: dict[str, str] = {"ServerSideEncryption": sse} if sse else {}
        if kms_key_id:
            self.arguments["SSEKMSKeyId"] = kms_key_id

    @property
    def kms_key(self) -> str | None:
        """The key of "aws:kms" in words, None without one."""
        if self.sse != "aws:kms":
            return None
        return (
            repr(self.arguments["SSEKMSKeyId"])
            if "SSEKMSKeyId" in self.arguments
            else "none given, hence the server's default"
        )

    def require(self, key: str, location: str, answer: Mapping[str, Any]) -> None:
        """Raises S3Refused where the server's answer to a write does not confirm what was asked for."""
        found = answer.get("ServerSideEncryption")
        if self.sse and found != self.sse:
            raise S3Refused(
                f"{key!r} in {location}: encryption {self.sse} was asked for, the server confirmed {found}: "
                "configure it on the server, or unset it here and encrypt the server's disks"
            )
