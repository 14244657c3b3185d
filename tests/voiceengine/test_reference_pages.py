"""The reference pages say what the code says."""

import argparse
import re
import tomllib
from pathlib import Path

import pytest

import voiceengine
from voiceengine.cli import COMMANDS, parser
from voiceengine.config import NumberRange, Settings, effective
from voiceengine.reference import LABELS, PAGES, SIP_EVENTS, families, keys

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    page = (DOCS / "reference" / name).read_text("utf-8")

    assert page == PAGES[name](), "run: python -m voiceengine.reference"


def test_every_setting_is_on_the_page():
    assert sorted(key for key, _ in keys()) == sorted(key for key, _, _ in effective(Settings(), {}))


def test_every_event_of_the_edge_is_described():
    sources = "".join(
        path.read_text("utf-8") for path in (Path(voiceengine.__file__).parent / "sip").rglob("*.py")
    )

    assert sorted(SIP_EVENTS) == sorted(set(re.findall(r'counters\["(\w+)"\]', sources)))


def test_labels_are_those_of_real_metrics():
    names = {family.name for family in families()}

    assert {metric for metric, _ in LABELS} <= names


def _commands():
    for name in COMMANDS:
        actions = parser(name)._subparsers._group_actions
        yield name, next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices[name]


def _section(page, name):
    found = re.search(rf"^## voiceengine {name}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"docs/reference/cli.md has no section `## voiceengine {name}`"
    return found[1]


def test_every_command_and_option_is_in_the_docs():
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    missing = []
    for name, command in _commands():
        section = _section(page, name)
        if name == "softphone" and "](../softphone.md)" in section:
            section += (DOCS / "softphone.md").read_text("utf-8")
        words = set(re.findall(r"--[a-z][a-z-]*", section))
        for action in command._actions:
            long = [option for option in action.option_strings if option.startswith("--")]
            missing += [f"{name} {option}" for option in long if option != "--help" and option not in words]

    assert missing == []


def test_no_option_in_the_docs_is_invented():
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    invented = []
    for name, command in _commands():
        known = {option for action in command._actions for option in action.option_strings}
        words = set(re.findall(r"--[a-z][a-z-]*", _section(page, name)))
        invented += [f"{name} {word}" for word in sorted(words - known)]

    assert invented == []


PAGES_OF_PEOPLE = sorted([PROJECT / "README.md", PROJECT / "CHANGELOG.md", *DOCS.rglob("*.md")])


@pytest.mark.parametrize("page", PAGES_OF_PEOPLE, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (page.parent / link).exists()] == []


def test_settings_named_in_the_docs_exist():
    known = {key for key, _ in keys()} | {key.rpartition(".")[0] for key, _ in keys()}
    known |= {f"numbers.ranges.{name}" for name in NumberRange.model_fields}
    pattern = re.compile(rf"`((?:{'|'.join(Settings.model_fields)})\.[a-z_.]+)[`= ]")
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for root in (PROJECT, PROJECT / "voiceengine")
        for path in (*(root / "media").rglob("*.py"), *(root / "calls").rglob("*.py"))
    }
    unknown = [
        f"{page.name}: {key}"
        for page in PAGES_OF_PEOPLE
        for key in pattern.findall(page.read_text("utf-8"))
        if key not in known and key not in modules and f"{key}.__init__" not in modules
    ]

    assert unknown == []


def test_every_notification_code_is_explained():
    page = (DOCS / "reference" / "applications.md").read_text("utf-8")
    sources = [*(PROJECT / "rcml").rglob("*.py"), *(PROJECT / "voiceengine" / "calls").rglob("*.py")]
    codes = {
        code
        for path in sources
        for code in re.findall(r"\b(?:1[1-5]\d{3}|214\d\d)\b", path.read_text("utf-8"))
    }

    assert sorted(code for code in codes if not re.search(rf"\b{code}\b", page)) == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (DOCS / "decisions" / "0007-dependencies.md").read_text("utf-8")

    names = [re.match(r"[\w-]+", text)[0] for text in project["dependencies"]]
    assert [name for name in names if not re.search(rf"^\|.*\b{name}\b.*\|", page, re.MULTILINE)] == []
