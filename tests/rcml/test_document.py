"""Reading documents: what is accepted, what is refused, and that nothing else can happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.document import Limits, parse, repair_ampersands
from rcml.errors import DocumentError, DocumentErrorKind

pytestmark = pytest.mark.unit


def first(body: bytes | str, charset: str | None = None):
    data = body.encode() if isinstance(body, str) else body
    return parse(data, charset).root.children[0]


def error(body: bytes | str, **options) -> DocumentError:
    data = body.encode() if isinstance(body, str) else body
    with pytest.raises(DocumentError) as caught:
        parse(data, **options)
    return caught.value


def test_names_text_attributes_and_lines_are_kept():
    say = first('<Response>\n <Say loop=" 2 ">  hello\n</Say></Response>')

    assert (say.name, say.text, say.attributes, say.line) == ("Say", "hello", {"loop": "2"}, 2)


def test_prefixes_and_namespaces_are_ignored():
    assert first('<r:Response xmlns:r="urn:x"><r:Say>x</r:Say></r:Response>').name == "Say"


def test_prefixes_that_were_not_declared_are_ignored_too():
    assert first('<Response><x:Say y:loop="3">x</x:Say></Response>').attributes == {"loop": "3"}


def test_text_runs_around_comments_and_children_are_joined():
    assert first("<Response><Say> a <!-- x --> b <i>lost</i> c </Say></Response>").text == "a  b  c"


def test_cdata_is_text():
    assert first("<Response><Say><![CDATA[a < b & c]]></Say></Response>").text == "a < b & c"


def test_an_unescaped_ampersand_is_repaired_in_text_and_attributes():
    element = first(
        '<Response><Redirect a="x?p=1&q=2">http://h/?a=1&copy=2&amp;c=3&#52;</Redirect></Response>'
    )

    assert element.attributes["a"] == "x?p=1&q=2"
    assert element.text == "http://h/?a=1&copy=2&c=34"


def test_the_charset_of_the_header_wins_over_the_declaration():
    body = "<?xml version='1.0' encoding='utf-8'?><Response><Say>é</Say></Response>".encode("latin-1")

    assert first(body, "iso-8859-1").text == "é"


def test_the_declaration_is_used_when_the_header_names_no_charset():
    body = "<?xml version='1.0' encoding='ISO-8859-1'?><Response><Say>é</Say></Response>".encode("latin-1")

    assert first(body).text == "é"


@pytest.mark.parametrize("charset", ["no-such", "hex", "idna", "punycode", "a\0b"])
def test_a_charset_that_is_none_is_passed_over(charset):
    assert first("<Response><Say>é</Say></Response>", charset).text == "é"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_charset(codec):
    assert first("<Response><Say>é</Say></Response>".encode(codec)).text == "é"


def test_blanks_before_the_declaration_do_no_harm():
    assert first("\n\n <?xml version='1.0'?><Response><Say>x</Say></Response>").name == "Say"


@pytest.mark.parametrize("body", ["", " \n", "\ufeff"])
def test_an_empty_body_is_refused(body):
    assert error(body).kind is DocumentErrorKind.EMPTY


def test_the_root_must_be_response():
    assert error("<response/>").kind is DocumentErrorKind.ROOT


def test_an_error_tells_line_and_column():
    found = error("\n<Response>\n<Say>")

    assert (found.kind, found.line, found.column) == (DocumentErrorKind.MALFORMED, 3, 6)


def test_the_column_is_that_of_the_text_as_written():
    assert (
        error("<Response><Say a='x&y&z'>&</Sai></Response>").column
        == error("<Response><Say a='x_y_z'>_</Sai></Response>").column
    )


def test_bytes_that_are_no_text_are_refused():
    assert error(b"<Response>\n<Say>\xff</Say></Response>").kind is DocumentErrorKind.ENCODING


def test_a_lone_surrogate_is_refused():
    assert error(b"<Response>+2AA-</Response>", charset="utf-7").kind is DocumentErrorKind.ENCODING


def test_an_entity_bomb_is_refused():
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Response><Say>&b;</Say></Response>'

    assert error(bomb).kind is DocumentErrorKind.DOCTYPE


def test_an_external_entity_is_refused():
    assert error('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Response a="&a;"/>')


def test_a_document_type_without_declarations_is_ignored():
    assert first("<!DOCTYPE Response><Response><Say>x</Say></Response>").name == "Say"


@pytest.mark.parametrize("depth", [65, 255, 5000])
def test_deep_nesting_is_refused(depth):
    body = "<Response>" + "<a>" * (depth - 1) + "</a>" * (depth - 1) + "</Response>"

    assert error(body).kind is DocumentErrorKind.TOO_DEEP


def test_nesting_at_the_limit_is_read():
    assert first("<Response>" + "<a>" * 63 + "</a>" * 63 + "</Response>").name == "a"


def test_large_documents_are_refused():
    assert error(b" " * 1_048_577).kind is DocumentErrorKind.TOO_LARGE


def test_documents_of_very_many_elements_are_refused():
    limits = Limits(max_elements=10)

    assert error("<Response>" + "<a/>" * 10 + "</Response>", limits=limits).kind is (
        DocumentErrorKind.TOO_MANY_ELEMENTS
    )


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "utf-16", "latin-1", "utf-7", "cp037"]))
def test_any_bytes_give_a_document_or_a_document_error(body, charset):
    try:
        parse(body, charset)
    except DocumentError as found:
        assert found.message


FRAGMENTS = ["<Response>", "</Response>", "<Say a='", "'>", "&", "&amp;", "&lol;", "<![CDATA[", "]]>", "<!--"]
FRAGMENTS += [
    "-->",
    "<!DOCTYPE x [",
    "<!ENTITY a '",
    "]>",
    "<?xml version='1.0'?>",
    "x",
    "\0",
    "\ud7ff",
    "\n",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
def test_any_markup_gives_a_document_or_a_document_error(text):
    try:
        parse(text.encode("utf-8"))
    except DocumentError as found:
        assert found.message


@given(st.text(alphabet="ab&;#x1<>![CDATA]-?amp lt", max_size=60))
def test_the_repair_is_stable_and_only_adds_escapes(text):
    once = repair_ampersands(text)

    assert repair_ampersands(once) == once
    assert once.replace("&amp;", "&") == text.replace("&amp;", "&")


@given(st.text(alphabet=st.characters(min_codepoint=32, blacklist_characters="<>&'\"", max_codepoint=0x2FF)))
def test_text_is_read_as_written(text):
    assert first(f"<Response><Say>{text}</Say></Response>").text == text.strip()
