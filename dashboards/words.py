"""The words of page, report and boards, in Chinese and English: one catalogue a language in `i18n/`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")


@cache
def words(language: Language) -> Mapping[str, str]:
    """Return the catalogue of a language: key -> text. A test holds the keys of all languages equal."""
    text = files("dashboards.i18n").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
