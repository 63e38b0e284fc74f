"""Hands raw logs that lie in buckets to what lands them, and says what of a bucket refuses a day; nothing is read."""

from pathlib import Path

from infra.s3_feed import FeedObjectRefused, S3Feed
from ml.data.sources.raw_files import RawFile
from ml.data.sources.tables import LandingRefused


class BucketFeed:
    """The raw feed (`ml.data.sources.raw_files.RawFeed`) of logs on S3.

    An object that cannot be had as it is refuses its day, as an unreadable file does. A server that is away, a bucket
    that is not there or credentials without rights are no fault of a day: these errors go on, and the step fails.
    """

    def __init__(self, feed: S3Feed) -> None:
        self._feed = feed

    def fetch(self, pattern: str, *, into: Path) -> list[RawFile]:
        """See RawFeed."""
        try:
            return [RawFile(*copied) for copied in self._feed.fetch(pattern, into=into)]
        except FeedObjectRefused as refused:
            raise LandingRefused(f"{refused}, then materialize the day again") from refused
