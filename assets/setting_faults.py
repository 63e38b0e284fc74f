"""Wrong settings in words, for the commands and forms that refuse them; what is right is the settings' own models'."""

from pydantic import ValidationError


def faults_in_words(error: ValidationError, *, whole: str = "settings", shows_found: bool = True) -> str:
    """Each wrong setting and what is wrong with it, and its value; `whole` names what is wrong only as a whole."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or whole}: {fault['msg'].removeprefix('Value error, ')}"
        + (f" (found {fault['input']!r})" if shows_found else "")
        for fault in error.errors(include_url=False)
    )
