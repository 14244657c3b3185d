"""The languages of Say, and what each engine calls them.

Source: the rules of this project, appendix "Say languages": the union of what the documentation and the
two providers of the reference list, with aliases; BCP-47 tags are accepted as well.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Language:
    """One language that can be spoken."""

    key: str
    """Name in a Say element."""
    name: str
    """English name, for people."""
    espeak: str
    """Voice of espeak-ng: the identifier of a file in its `lang` folder."""
    gtts: str
    """Language of the Google translate service."""
    gtts_tld: str = "com"
    """Top-level domain of that service; it selects the accent."""


DEFAULT = "en"
"""Spoken instead of a language that is not known."""

LANGUAGES: dict[str, Language] = {
    language.key: language
    for language in (
        Language("ar", "Arabic", "sem/ar", "ar"),
        Language("ca", "Catalan", "roa/ca", "ca"),
        Language("cs", "Czech", "zlw/cs", "cs"),
        Language("cy-gb", "Welsh", "cel/cy", "cy"),
        Language("da", "Danish", "gmq/da", "da"),
        Language("de", "German", "gmw/de", "de"),
        Language("el", "Greek", "grk/el", "el"),
        Language("en", "English", "gmw/en-US", "en"),
        Language("en-au", "English (Australia)", "gmw/en", "en", "com.au"),
        Language("en-ca", "English (Canada)", "gmw/en-US", "en", "ca"),
        Language("en-gb", "English (United Kingdom)", "gmw/en", "en", "co.uk"),
        Language("en-in", "English (India)", "gmw/en", "en", "co.in"),
        Language("es", "Spanish", "roa/es", "es", "es"),
        Language("es-mx", "Spanish (Mexico)", "roa/es-419", "es", "com.mx"),
        Language("fi", "Finnish", "urj/fi", "fi"),
        Language("fr", "French", "roa/fr", "fr", "fr"),
        Language("fr-ca", "French (Canada)", "roa/fr", "fr-CA", "ca"),
        Language("is", "Icelandic", "gmq/is", "is"),
        Language("it", "Italian", "roa/it", "it"),
        Language("ja", "Japanese", "jpx/ja", "ja"),
        Language("ko", "Korean", "ko", "ko"),
        Language("nb", "Norwegian (Bokmål)", "gmq/nb", "no"),
        Language("nl", "Dutch", "gmw/nl", "nl"),
        Language("pl", "Polish", "zlw/pl", "pl"),
        Language("pt", "Portuguese", "roa/pt", "pt-PT", "pt"),
        Language("pt-br", "Portuguese (Brazil)", "roa/pt-BR", "pt", "com.br"),
        Language("ro", "Romanian", "roa/ro", "ro"),
        Language("ru", "Russian", "zle/ru", "ru"),
        Language("sv", "Swedish", "gmq/sv", "sv"),
        Language("tr-tr", "Turkish", "trk/tr", "tr"),
        Language("zh-cn", "Chinese (Mandarin)", "sit/cmn", "zh-CN"),
        Language("zh-hk", "Chinese (Cantonese)", "sit/yue", "yue"),
        Language("zh-tw", "Chinese (Taiwan)", "sit/cmn", "zh-TW"),
    )
}
"""Key -> language; aliases are not in here."""

ALIASES: dict[str, str] = {
    # of the documentation
    "bf": "fr",
    "bp": "pt-br",
    "cf": "fr-ca",
    "dan": "da",
    "no": "nb",
    "tr": "tr-tr",
    # BCP-47 tags whose first part alone would say something else, or nothing
    "cy": "cy-gb",
    "nn": "nb",
    "en-ie": "en-gb",
    "en-nz": "en-au",
    "es-419": "es-mx",
    "es-us": "es-mx",
    "zh": "zh-cn",
    "zh-hans": "zh-cn",
    "zh-hant": "zh-tw",
    "zh-hant-hk": "zh-hk",
    "zh-sg": "zh-cn",
    "zh-mo": "zh-hk",
    "cmn": "zh-cn",
    "cmn-hant": "zh-tw",
    "yue": "zh-hk",
}
"""Other names -> key."""

_LATIN_AMERICA = "ar bo cl co cr ec sv gt hn ni pa py pe pr do uy ve"
ALIASES.update({f"es-{region}": "es-mx" for region in _LATIN_AMERICA.split()})


def supported(language: str) -> bool:
    """Whether `language` (a key, an alias or a BCP-47 tag) is spoken as itself."""
    return _find(language) is not None


def resolve(language: str) -> Language:
    """The language for a key, an alias or a BCP-47 tag (`en-US`, `pt_BR`), in any case.

    A tag whose last part is not known is shortened from the right; what is left unknown is English.
    """
    return LANGUAGES[_find(language) or DEFAULT]


def _find(language: str) -> str | None:
    parts = language.strip().lower().replace("_", "-").split("-")
    while parts:
        name = "-".join(parts)
        name = ALIASES.get(name, name)
        if name in LANGUAGES:
            return name
        parts.pop()
    return None


def accepted() -> list[str]:
    """Every key and alias, sorted; for reference pages and the linter."""
    return sorted({*LANGUAGES, *ALIASES})
