"""What the documents name exists."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HOPS = re.findall(r"^\| \d+ \| `([^`]+)`(?: `(\w+)`)? \|", (ROOT / "docs" / "walks.md").read_text(), re.M)


def test_the_walks_have_hops():
    assert len(HOPS) > 15


@pytest.mark.parametrize(("path", "name"), HOPS)
def test_a_hop_leads_somewhere(path, name):
    source = (ROOT / path).read_text()
    assert not name or re.search(rf"^(?:(?:async )?def|class) {name}\b|^{name}\b.*=", source, re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_what_is_there(document):
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / path).exists(), path


def test_the_course_is_right():
    pytest.importorskip("torch")
    outcome = doctest.testfile(str(ROOT / "docs" / "attention.md"), module_relative=False)
    assert outcome.attempted > 5
    assert outcome.failed == 0
