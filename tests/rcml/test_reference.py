"""The reference page says what the code says."""

from pathlib import Path

import pytest

import rcml
from rcml.reference import render

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "verbs.md"


def test_the_reference_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == render(), "run: python -m rcml.reference > docs/reference/verbs.md"


def test_the_public_names_are_these():
    assert sorted(rcml.__all__) == [
        "Document",
        "DocumentError",
        "Element",
        "Interpreter",
        "InterpreterSettings",
        "Limits",
        "Outcome",
        "OutcomeKind",
        "Source",
        "UrlError",
        "parse",
        "standard_parameters",
    ]
