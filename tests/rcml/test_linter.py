"""The linter: good documents have no findings, bad ones those in the file beside them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.document import parse
from rcml.linter import lint
from rcml.positions import tags
from rcml.simulator import simulate

pytestmark = pytest.mark.unit

DATA = Path(__file__).parent.parent / "data" / "rcml"
GOOD = sorted((DATA / "good").glob("*.xml"))
BAD = sorted((DATA / "bad").glob("*.xml"))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_document_has_no_findings(path):
    assert lint(path.read_bytes()) == []


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_document_runs(path):
    done = simulate(path.read_text("utf-8"), replies={}, speech_seconds=0)

    assert done.lines()[0].startswith("requests")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_document_has_the_expected_findings(path):
    expected = path.with_suffix(".txt").read_text("utf-8").splitlines()

    assert [str(finding) for finding in lint(path.read_bytes())] == expected


def test_a_document_with_endless_speech_ends_there():
    found = lint(b'<Response><Say loop="0">x</Say><Hangup/></Response>')

    assert "Hangup is never reached" in found[0].message


def test_verbs_in_unknown_elements_are_checked_in_their_order():
    found = [str(f) for f in lint(b'<Response><Foo><Hangup/></Foo><Pause length="x"/></Response>')]

    assert [line.partition(": ")[0] for line in found] == ["1:11", "1:31", "1:38"]


@given(
    st.recursive(
        st.sampled_from(
            ["<a/>", "<!-- <x> -->", "<![CDATA[<y>]]>", "text", "<b p='>' q=\"<\n'\"/>".replace("<\n", "\n")]
        ),
        lambda inner: st.lists(inner, max_size=4).map(
            lambda parts: f"<c  d='1'\n e = '2'>{''.join(parts)}</c>"
        ),
        max_leaves=12,
    )
)
def test_every_start_tag_of_a_document_is_found(content):
    text = f"<Response>{content}</Response>"
    names = []

    def walk(element):
        names.append((element.name, element.line, sorted(element.attributes)))
        for child in element.children:
            walk(child)

    walk(parse(text.encode()).root)

    assert [tag.name for tag in tags(text)] == [name for name, _, _ in names]
    assert [sorted(tag.attributes) for tag in tags(text)] == [attributes for _, _, attributes in names]
