"""The site lists every page; once it is built, its links hold and its pages are accessible.

`make site-check` builds the site and runs all of these tests. The browser opens the files
themselves, so that a page that needs a server or the network fails.
"""

import ast
import json
import os
import re
import runpy
import subprocess
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from babel.messages.pofile import read_po
from playwright.sync_api import Page, sync_playwright

from tests.jupyterlab import ROOT, chromium

SITE = ROOT / "build" / "site"
PYTHON = ROOT / "build" / "site-venv" / "bin" / "python"  # has Sphinx
MESSAGES = ROOT / "build" / "site-messages"  # of the sources of each translated page
CATALOGUES = ROOT / "docs" / "locale" / "zh_CN" / "LC_MESSAGES"
FILES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts
)
PAGES = sorted(path.relative_to(MESSAGES).with_suffix("") for path in MESSAGES.rglob("*.pot"))
# What the browser opens: of the Chinese pages those with a translation, the others being English.
CHECKED = [
    file
    for file in FILES
    if not file.startswith("zh/") or Path(file).relative_to("zh").with_suffix("") in PAGES
]
# The elements with an address. All but `a` load what is there.
ADDRESSES = {"a": "href", "link": "href", "img": "src", "script": "src"}
NARROW = 360  # pixels, a small telephone


class Addresses(HTMLParser):
    """The ids of a page, its links, and what it loads from the network."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loaded = {""}, list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        address = values.get(ADDRESSES.get(tag, "")) or ""
        if not urlsplit(address).scheme and not urlsplit(address).netloc:
            self.links.append(address)
        elif tag != "a" and not address.startswith("data:"):
            self.loaded.append(address)


@cache
def read(path: Path) -> Addresses:
    return Addresses(path.read_text(encoding="utf-8"))


def broken_links(path: Path) -> Iterator[str]:
    """List the links of a page to a file or to an id that does not exist."""
    for link in read(path).links:
        parts = urlsplit(link)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_file() or (
            target.suffix == ".html" and unquote(parts.fragment) not in read(target).ids
        ):
            yield link


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, Page]]:
    """A page of the browser in each theme; the site follows the browser's."""
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium: install chromium or google-chrome, and have it on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield {
            "light": browser.new_page(color_scheme="light"),
            "dark": browser.new_page(color_scheme="dark"),
            "narrow": browser.new_page(viewport={"width": NARROW, "height": 740}),
        }
        browser.close()


def open_page(page: Page, address: str) -> None:
    page.goto(f"file://{SITE}/{address}", wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise.then(() => true)")


def test_the_configuration_lists_every_page_once() -> None:
    tree = ast.parse((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"))
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAGES"
    ]
    listed = [page for pages in ast.literal_eval(value).values() for page in pages]
    pages = ("notebooks/*.ipynb", "notebooks/appendix/*.ipynb", "docs/*.md")
    files = [path for page in pages for path in ROOT.glob(page)]
    expected = [path.relative_to(ROOT).with_suffix("").as_posix() for path in files]
    assert sorted(p for p in listed if p.startswith(("docs/", "notebooks/"))) == sorted(expected)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<p id="here">')
    page = tmp_path / "a.html"
    page.write_text('<a href="b.html#here"><a href="b.html#gone"><a href="c.html"><a href="#no">')
    assert [*broken_links(page)] == ["b.html#gone", "c.html", "#no"]


@pytest.mark.parametrize("file", FILES)
def test_every_link_holds_and_nothing_is_loaded_from_elsewhere(file: str) -> None:
    assert not [*broken_links(SITE / file)]
    assert not read(SITE / file).loaded


@pytest.mark.parametrize("file", FILES)
def test_every_page_links_to_itself_in_the_other_language(file: str) -> None:
    other = file.removeprefix("zh/") if file.startswith("zh/") else f"zh/{file}"
    links = [
        (SITE / file).parent / unquote(urlsplit(link).path) for link in read(SITE / file).links
    ]
    assert SITE / other in [link.resolve() for link in links]


def figure_ids(page: Addresses) -> set[str]:
    return {name for name in page.ids if re.fullmatch(r"figure-\w-\d+", name)}


@pytest.mark.parametrize("file", [file for file in FILES if "notebooks/" in file])
def test_every_caption_has_the_id_of_its_number(file: str) -> None:
    notebook = ROOT / file.removeprefix("zh/").replace(".html", ".ipynb")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    numbers = re.findall(r"^\*\*Figure (\w\.\d+)", "\n".join(texts), re.M)
    assert numbers
    assert figure_ids(read(SITE / file)) == {
        f"figure-{number.replace('.', '-').lower()}" for number in numbers
    }


def unlinked_figures(text: str) -> list[str]:
    """List the mentions of figures in prose that are not links; a caption's number is none."""
    text = re.sub(r"<(a|code|h[1-6]|pre|script|title)\b.*?</\1>", "", text, flags=re.S)
    text = re.sub(r'(id="figure-\w-\d+"[^>]*>\s*)<strong>.*?</strong>', r"\1", text, flags=re.S)
    return re.findall(r"(?:Figures?|图)\s*[0-9A-Z]\.\d+", text)


@pytest.mark.parametrize("file", FILES)
def test_every_mention_of_a_figure_is_a_link(file: str) -> None:
    assert not unlinked_figures((SITE / file).read_text(encoding="utf-8"))


INDEX = """# Index

```{toctree}
page
```

**Figure B.1.** *Finding.* Compare Figures 9.2, 9.10 and B.1, and Figure
9.2.
"""
PAGE = """# About Figure 9.1

**Figure 9.2.** *See Figure 9.10.* `Figure 9.3`, [Figure 9.4](index.md)

**图 9.10** 见图 9.2、9.10 和图 B.1。

    Figure 9.5
"""


def build_site(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a folder of Markdown with numbered figures, a warning being an error."""
    extensions = "extensions=myst_parser,numbered_figures"
    return subprocess.run(
        [PYTHON, "-m", "sphinx", "-E", "-W", "-q", "-C", "-D", extensions, folder, folder / "out"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "docs")},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="Sphinx is not installed: make site")
def test_a_mention_of_a_missing_figure_fails_the_build(tmp_path: Path) -> None:
    index, page = tmp_path / "index.md", tmp_path / "page.md"
    index.write_text(INDEX, encoding="utf-8")
    page.write_text(PAGE, encoding="utf-8")
    built = build_site(tmp_path)
    assert not built.returncode, built.stderr
    expected = {
        "index": (
            {"figure-b-1"},
            [
                "page.html#figure-9-2",
                "page.html#figure-9-10",
                "#figure-b-1",
                "page.html#figure-9-2",
            ],
        ),
        "page": (
            {"figure-9-2", "figure-9-10"},
            ["#figure-9-10", "#figure-9-2", "#figure-9-10", "index.html#figure-b-1"],
        ),
    }
    for name, (ids, links) in expected.items():
        found = read(tmp_path / "out" / f"{name}.html")
        assert figure_ids(found) == ids
        assert [link for link in found.links if re.search(r"#figure-\w-\d+$", link)] == links

    index.write_text(f"{INDEX} Figure 9.9 is missing.", encoding="utf-8")
    built = build_site(tmp_path)
    assert built.returncode
    assert "index.md:7: WARNING: undefined label: 'figure-9-9'" in built.stderr


def untranslated(template: Path, catalogue: Path) -> list[str]:
    """List the messages of the sources that have no translation, or that of an earlier text."""
    current, translated = (
        read_po(path.read_text(encoding="utf-8").splitlines()) for path in (template, catalogue)
    )
    found = {str(message.id): translated.get(message.id) for message in current if message.id}
    return [text for text, found in found.items() if not found or not found.string or found.fuzzy]


def test_missing_and_outdated_translations_are_found(tmp_path: Path) -> None:
    template, catalogue = tmp_path / "a.pot", tmp_path / "a.po"
    texts = ("done", "empty", "changed", "new")
    template.write_text("".join(f'msgid "{text}"\nmsgstr ""\n\n' for text in texts))
    catalogue.write_text(
        'msgid "done"\nmsgstr "x"\n\nmsgid "empty"\nmsgstr ""\n\n'
        '#, fuzzy\nmsgid "changed"\nmsgstr "x"\n\nmsgid "gone"\nmsgstr "x"\n'
    )
    assert untranslated(template, catalogue) == ["empty", "changed", "new"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_message_is_translated(page: Path) -> None:
    missing = untranslated(MESSAGES / f"{page}.pot", CATALOGUES / f"{page}.po")
    remedy = "run `make site-translate`, and translate these messages in the catalogue"
    assert not missing, "\n".join([f"{page}: {len(missing)} to translate; {remedy}:", *missing])


def test_every_word_of_the_demo_is_translated() -> None:
    script, page = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("demo/demo.js", "demo.md")
    )
    controls = page[page.index('<div id="demo"') : page.index("<script")]
    words = {
        *re.findall(r'say\("([^"]+)"', script),
        *(text.strip() for text in re.findall(r">([^<>]+)<", controls) if text.strip()),
        *re.findall(r'aria-label="([^"]+)"', page),
        *runpy.run_path(str(ROOT / "docs" / "demo" / "build.py"))["NOTICES"].values(),
    }
    assert words == {*re.findall(r'^  "([^"]+)":', script, re.M)}


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("file", CHECKED)
def test_axe_finds_no_violation_offline(pages: dict[str, Page], file: str, theme: str) -> None:
    (axe,) = (ROOT / "build" / "site-venv").glob("lib/*/site-packages/*/axe.min.js")
    page = pages[theme]
    open_page(page, file)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.add_script_tag(path=axe)
    addresses = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert not [address for address in addresses if address.startswith("http")]
    violations = page.evaluate("axe.run().then(found => found.violations)")
    assert not [
        f"{violation['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in violations
        for node in violation["nodes"]
    ]


@pytest.mark.browser
@pytest.mark.parametrize("file", CHECKED)
def test_the_page_fits_a_narrow_screen(pages: dict[str, Page], file: str) -> None:
    open_page(pages["narrow"], file)
    assert pages["narrow"].evaluate("document.documentElement.scrollWidth") <= NARROW


@pytest.mark.browser
@pytest.mark.skipif(not FILES, reason="the site is not built: make site")
@pytest.mark.parametrize(
    ("search", "words", "found"),
    [
        ("search.html", "logQ correction", "docs/glossary.html"),
        ("search.html", "sampled softmax correction", "docs/glossary.html"),
        ("search.html", "K'_u", "docs/glossary.html"),
        ("search.html", "number of interests of a user", "docs/glossary.html"),
        ("search.html", "add a data reader", "docs/contributing.html"),
        ("search.html", "reader", "docs/contributing.html"),
        ("zh/search.html", "余弦相似度", "docs/glossary.html"),
    ],
)
def test_the_search_finds(pages: dict[str, Page], search: str, words: str, found: str) -> None:
    open_page(pages["light"], f"{search}?q={words.replace(' ', '+')}")
    results = pages["light"].locator("#search-results li a")
    results.first.wait_for()
    assert any(found in (link.get_attribute("href") or "") for link in results.all()[:3])
