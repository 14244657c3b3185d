"""Languages of Say and of speech recognition.

Reference: Say languages, Gather speech languages (appendices).
"""

from __future__ import annotations

_SAY = (
    "bf bp ca cf cs cy-gb da dan de el en en-au en-ca en-gb en-in es es-mx fi fr fr-ca is it ja ko nb nl no"
    " pl pt pt-br ro ru sv ar tr tr-tr zh-cn zh-hk zh-tw"
)
_GATHER = (
    "en-US en-GB es-ES it-IT fr-FR pl-PL pt-PT af-ZA id-ID ms-MY ca-ES cs-CZ da-DK de-DE en-AU en-CA en-IN"
    " en-IE en-NZ en-PH en-ZA eu-ES fil-PH fr-CA gl-ES hr-HR zu-ZA is-IS lt-LT hu-HU nl-NL nb-NO pt-BR ro-RO"
    " sk-SK sl-SI fi-FI sv-SE vi-VN tr-TR el-GR bg-BG ru-RU sr-RS uk-UA he-IL fa-IR hi-IN th-TH ko-KR ja-JP"
    " es-AR es-BO es-CL es-CO es-CR es-EC es-SV es-US es-GT es-HN es-MX es-NI es-PA es-PY es-PE es-PR es-DO"
    " es-UY es-VE ar-IL ar-JO ar-AE ar-BH ar-DZ ar-SA ar-IQ ar-KW ar-MA ar-TN ar-OM ar-PS ar-QA ar-LB ar-EG"
    " cmn-Hant-TW yue-Hant-HK cmn-Hans-HK cmn-Hans-CN"
)
SAY_LANGUAGES = frozenset(_SAY.split())
"""Every value that Say takes."""

ALIASES = {"bp": "pt-br", "cf": "fr-ca", "bf": "fr", "dan": "da", "no": "nb", "tr": "tr-tr"}

DEFAULT_SAY_LANGUAGE = "en"

GATHER_LANGUAGES = frozenset(_GATHER.split())

DEFAULT_GATHER_LANGUAGE = "en-US"


def say_language(text: str) -> str | None:
    """Give the language key for a value of `language`: a listed key, an alias or a BCP-47 tag.

    Returns:
        The key the speech port understands (aliases are replaced), or None when there is none.
    """
    tag = text.lower().replace("_", "-")
    for candidate in (tag, tag.partition("-")[0]):
        if candidate in SAY_LANGUAGES:
            return ALIASES.get(candidate, candidate)
    return None
