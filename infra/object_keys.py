"""Object keys that every store carries, and the errors of object stores; no store is here."""

import re

SEGMENT = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]{0,199}")
PREFIX = re.compile(r"[A-Za-z0-9._=+@/-]*")
MAX_KEY_CHARACTERS = 900


class ObjectStoreError(RuntimeError):
    """An object store could not do what it was asked; the message names key, store and remedy."""


class KeyRefused(ObjectStoreError, ValueError):
    """A key is not relative, not portable, or is at once an object and a folder of objects."""


class ObjectMissing(ObjectStoreError):
    """No object has this key."""

    def __init__(self, key: str, store: str) -> None:
        super().__init__(
            f"no object {key!r} in {store}: write it first, or correct the key or the store's address in the settings"
        )


class ObjectExists(ObjectStoreError):
    """A create-only write found the key taken; what was there is untouched."""

    def __init__(self, key: str, store: str) -> None:
        super().__init__(
            f"object {key!r} already exists in {store} and create-only writes never replace: "
            "choose another key, or read it and use replace_bytes with its etag"
        )


class ObjectChanged(ObjectStoreError):
    """A compare-and-swap found another etag, or nothing; what is there now is untouched."""

    def __init__(self, key: str, store: str, *, expected: str, found: str | None) -> None:
        super().__init__(
            f"object {key!r} in {store} was expected with etag {expected}, "
            f"found {'no object' if found is None else 'etag ' + found}: read it again, decide again, and retry"
        )


class ObjectDamaged(ObjectStoreError):
    """The bytes that came are not those that were written."""

    def __init__(self, key: str, store: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"object {key!r} in {store} is damaged: expected {expected}, found {found}: write it again, and check the "
            "server's disks and the network if this comes back"
        )


def check_key(key: str) -> str:
    """The key itself if it is portable to every store; raises KeyRefused saying what is wrong with it."""
    if len(key) > MAX_KEY_CHARACTERS:
        raise KeyRefused(f"object key of {len(key)} characters: use at most {MAX_KEY_CHARACTERS} ({key[:60]!r}…)")
    for part in key.split("/"):
        if not SEGMENT.fullmatch(part):
            raise KeyRefused(
                f"object key {key!r} has the part {part!r}: use relative keys whose parts are 1 to 200 of letters, "
                "digits and . _ = + @ - and do not begin with a dot"
            )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself if some key could begin with it; raises KeyRefused otherwise."""
    if not PREFIX.fullmatch(prefix) or prefix.startswith("/") or "//" in prefix or ".." in prefix.split("/"):
        raise KeyRefused(f"key prefix {prefix!r}: use the first characters of a key, such as 'models/2026-'")
    return prefix
