"""The table of languages: names, aliases, BCP-47."""

from pathlib import Path

import pytest
from espeakng_loader import get_data_path
from gtts.lang import tts_langs

from media.speech.espeak import VARIANTS
from media.speech.languages import ALIASES, LANGUAGES, accepted, resolve, supported
from media.speech.request import SpeechRequest, Voice

pytestmark = pytest.mark.unit

NAMES = """
bf bp en en-gb cf cs dan fi es fr de el it nl no pl pt ru ar ca sv tr
ca zh-cn zh-hk zh-tw da nl en-au en-ca en-gb en-in en fi fr-ca fr de it ja ko nb pl pt-br pt ru es-mx es sv
ja tr-tr ru ro pt bp pl nl nb it is fr fr-ca es-mx es en-gb cy-gb en en-in en-ca en-au de da
"""
"""Of the documentation, the first and the second provider."""


@pytest.mark.parametrize("name", sorted(set(NAMES.split())))
def test_every_name_of_the_documentation_and_the_providers_is_known(name):
    assert supported(name)
    assert name in accepted()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bp", "pt-br"),
        ("cf", "fr-ca"),
        ("bf", "fr"),
        ("dan", "da"),
        ("no", "nb"),
        ("tr", "tr-tr"),
        ("en-US", "en"),
        ("en_GB", "en-gb"),
        (" EN-gb ", "en-gb"),
        ("pt-PT", "pt"),
        ("pt-BR", "pt-br"),
        ("fr-BE", "fr"),
        ("de-AT", "de"),
        ("es-AR", "es-mx"),
        ("es-ES", "es"),
        ("zh", "zh-cn"),
        ("zh-Hant-TW", "zh-tw"),
        ("cmn-Hans-CN", "zh-cn"),
        ("yue-Hant-HK", "zh-hk"),
        ("tr-TR", "tr-tr"),
        ("nb-NO", "nb"),
    ],
)
def test_aliases_and_tags(name, key):
    assert resolve(name).key == key


@pytest.mark.parametrize("name", ["", "xx", "klingon", "-", "xx-US", "\u2603"])
def test_an_unsupported_language_is_english(name):
    assert resolve(name).key == "en"
    assert not supported(name)


def test_aliases_lead_to_languages_and_hide_none():
    assert set(ALIASES.values()) <= set(LANGUAGES)
    assert not set(ALIASES) & set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=lambda language: language.key)
def test_every_voice_exists_in_the_data_of_espeak_ng(language):
    assert (Path(get_data_path()) / "lang" / language.espeak).is_file()


@pytest.mark.parametrize("variant", VARIANTS.values())
def test_every_variant_exists_in_the_data_of_espeak_ng(variant):
    assert (Path(get_data_path()) / "voices" / "!v" / variant.removeprefix("+")).is_file()


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=lambda language: language.key)
def test_every_language_is_known_to_gtts(language):
    assert language.gtts in tts_langs()


def test_a_request_is_made_canonical():
    assert SpeechRequest("a", "Woman", "en-US") == SpeechRequest("a", Voice.WOMAN, "en")
    assert SpeechRequest("a", "robot", "tlh").voice is Voice.MAN
