"""Posts a message to a webhook in Slack's format, within a time limit; what is worth a message is decided elsewhere."""

import json
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

#: Slack cuts a message's text at 40,000 characters; what is longer than this nobody reads at night.
LONGEST_TEXT = 8_000


class WebhookInvalid(ValueError):
    """An address that no message can be posted to."""


class MessageNotDelivered(RuntimeError):
    """The webhook did not take the message; why, and its host. The address itself is a secret and is not told."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook that redirects would have the message, and the secret in its address, sent to another host."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def check_address(url: str) -> None:
    """Raise WebhookInvalid unless `url` is an http(s) address with a host; the message holds no part that is secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WebhookInvalid(
            f"the webhook's address has scheme {parts.scheme!r} and {'a' if parts.hostname else 'no'} host; give an "
            "https:// address"
        )


def post_message(url: str, text: str, *, timeout_seconds: float) -> None:
    """Post `{"text": text}` as JSON, cut to LONGEST_TEXT characters; returns once the webhook has answered 2xx.

    Raises WebhookInvalid for a wrong address, MessageNotDelivered where the webhook cannot be reached, answers with
    another status, or has not answered within `timeout_seconds` in all, however slowly it sends.
    """
    check_address(url)
    host = urlsplit(url).hostname
    outcome: list[str] = []
    # urllib's timeout is for each read: a server that sends a byte a second would hold the caller for ever.
    posting = threading.Thread(
        target=lambda: outcome.append(_post(url, text, timeout_seconds)), daemon=True, name="webhook"
    )
    posting.start()
    posting.join(timeout_seconds)
    why = outcome[0] if outcome else f"no answer within {timeout_seconds:g} s"
    if why:
        raise MessageNotDelivered(
            f"the webhook at {host} did not take the message: {why}; check POSTCLICK_ALERT_WEBHOOK and that host"
        )


def _post(url: str, text: str, timeout_seconds: float) -> str:
    """Why the message was not taken; empty where it was."""
    cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    request = urllib.request.Request(
        url,
        data=json.dumps({"text": cut}, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
        method="POST",
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout_seconds):
            return ""
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, ValueError) as error:
        # The reason of a URLError is the socket's own; neither holds the address.
        return str(getattr(error, "reason", None) or type(error).__name__)
