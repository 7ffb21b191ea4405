"""The words of page, report and boards, in Chinese and English: one catalogue a language in `i18n/`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from schemas.errors import ConfigError

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")


@cache
def words(language: Language) -> Mapping[str, str]:
    """Return the catalogue of a language: key -> text. A test holds the keys of all languages equal."""
    text = files("dashboards.i18n").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def chosen(language: str) -> tuple[Language, ...]:
    """Return the language named, or all of them for "".

    Raises:
        ConfigError: there is no such language.
    """
    found = tuple(each for each in LANGUAGES if language in ("", each))
    if not found:
        raise ConfigError(f"no language {language!r}; there are {', '.join(LANGUAGES)}")
    return found
