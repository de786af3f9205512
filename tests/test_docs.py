"""The docs match the code: links lead somewhere, commands and names exist."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import delivery_ways
from model_contract import names
from model_contract.exit_codes import ExitCode

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
# Pages that lead a reader to files of this repository.
GUIDES = ["README.md", "CONTRIBUTING.md", "docs/glossary.md", "docs/explanation/architecture.md"]
DECISIONS = sorted(ROOT.glob("docs/decisions/*.md"))
TESTS = {
    name
    for file in ROOT.glob("tests/**/test_*.py")
    for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
}
TEST_NAME = re.compile(r"`(test_\w+)`")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def page_ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_targets_of_page_links_exist(page: Path) -> None:
    local = [(link, heading) for link, heading in LINK.findall(page.read_text()) if "://" not in link]

    broken = [link for link, _ in local if not (page.parent / link).exists()]
    headless = [
        f"{link}#{heading}"
        for link, heading in local
        if heading and heading not in anchors((page.parent / link if link else page).read_text())
    ]

    assert broken == []
    assert headless == []


def anchors(markdown: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page: lower case, hyphens for spaces,
    no punctuation.
    """
    headings = HEADING.findall(CODE_BLOCK.sub("", markdown))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_page_names_only_make_targets_that_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)", page.read_text(), re.MULTILINE))

    assert {first or second for first, second in named} <= targets


@pytest.mark.parametrize("guide", GUIDES)
def test_files_that_a_guide_names_exist(guide: str) -> None:
    spans = CODE_SPAN.findall(CODE_BLOCK.sub("", (ROOT / guide).read_text()))
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    paths = {span for span in spans if re.fullmatch(r"[\w.-]+/[\w./-]*", span) and span.split("/")[0] in folders}

    assert len(paths) > 8
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_index_lists_every_page() -> None:
    docs = ROOT / "docs"
    listed = {(docs / link).resolve() for link, _ in LINK.findall((docs / "README.md").read_text()) if link}
    pages = {*docs.glob("**/*.md")} - {docs / "README.md"}

    assert sorted(str(page.relative_to(docs)) for page in pages - listed) == []


@pytest.mark.parametrize("decision", DECISIONS, ids=page_ids)
def test_decision_has_its_number_and_the_headings_of_all(decision: Path) -> None:
    title, *headings = HEADING.findall(decision.read_text())

    assert title.startswith(f"{decision.name.partition('-')[0]} ")
    assert headings == ["Decision", "Reason", "What was given up"]


def test_every_variable_of_the_contract_is_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    variables = [
        *names.MODEL_VARIABLES,
        names.ARTIFACTS_PATH,
        names.TRACKING_URI,
        names.TOKEN_FILE,
        names.SOURCE_PREFIX,
    ]

    assert [name for name in variables if name not in text] == []


def test_every_annotation_and_label_of_ours_is_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    keys = [
        names.ENABLED_LABEL,
        names.INJECT,
        names.CONTAINERS_ANNOTATION,
        names.CPU_LIMIT_ANNOTATION,
        names.MEMORY_LIMIT_ANNOTATION,
    ]

    assert [key for key in [*keys, names.STATUS_ANNOTATION] if key not in text] == []


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}

    assert documented == set(ExitCode)


def test_every_bug_of_the_original_has_its_line_and_its_tests() -> None:
    page = (ROOT / "docs" / "explanation" / "compared-with-domino-mlflow-client.md").read_text()
    lines = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", page, re.MULTILINE)

    named = {int(number): re.findall(r"`(\w+)`", cell) for number, cell in lines}

    assert sorted(named) == list(range(1, 37))
    assert [number for number, cell in named.items() if not cell] == []
    assert {name for cell in named.values() for name in cell} - TESTS == set()


@pytest.mark.parametrize("page", [page for page in PAGES if TEST_NAME.search(page.read_text())], ids=page_ids)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert set(TEST_NAME.findall(page.read_text())) - TESTS == set()


def test_page_of_security_names_the_tests_of_its_promises() -> None:
    assert len(TEST_NAME.findall((ROOT / "SECURITY.md").read_text())) > 20


def test_every_row_of_the_page_of_compatibility_names_a_test() -> None:
    page = (ROOT / "docs" / "reference" / "compatibility.md").read_text()
    _, _, shown = page.partition("## Versions that work together")
    rows = [line for line in shown.splitlines() if line.startswith("| ") and not line.endswith("| shown by |")]

    assert len(rows) > 25
    assert [row for row in rows if not re.search(r"`test_\w+` \|$", row)] == []


def test_table_of_the_ways_of_delivery_is_that_of_their_figures() -> None:
    block = delivery_ways.BLOCK.search(delivery_ways.PAGE.read_text())
    found = delivery_ways.FIGURES
    table = delivery_ways.table(json.loads(found.read_text())) if found.exists() else ""

    assert block is not None
    assert block[0] == f"{block[1]}{table}{block[2]}"


def test_computed_times_grow_with_the_nodes_only_if_one_server_sends_the_bytes() -> None:
    found = delivery_ways.Constants(start=2, init=1, gate=100, requests=10)
    seconds = {name: (way(1), way(1000)) for name, way in delivery_ways.ways(found, size=1100).items()}

    assert seconds["init container, through the gate"] == (14, 11003)
    assert seconds["shared claim"] == (4, 1003)
    assert seconds["image volume, next pod of a node"] == (2, 2)
