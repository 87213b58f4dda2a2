"""The site: `make site` builds it into build/site. Sphinx reads this file.

The Makefile copies README.md (as index.md), docs/, notebooks/ and so on into one folder, so that
their relative links hold on the site, too. Nothing is executed and nothing of mindlib is imported:
the notebooks keep their committed outputs, and the API pages are made from the source text.
"""

import gettext
import json
import os
import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import index, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parent.parent
# Each page of the site, by the heading that it is listed under.
PAGES = {
    "Notebooks": [
        "notebooks/00_problem_formalization",
        "notebooks/01_dynamic_routing",
        "notebooks/02_b2i_routing",
        "notebooks/03_label_aware_attention",
        "notebooks/04_training_and_serving",
        "notebooks/05_experiments",
        "notebooks/06_deployment",
        "notebooks/appendix/B_routing",
    ],
    "Results": [
        "docs/results",
        "docs/ledger",
        "docs/speed",
        "docs/reliability",
        "benchmarks/README",
    ],
    "Demo": ["docs/demo"],
    "Library": ["docs/library", "docs/serving", "API <api/mindlib/index>"],
    "Project": ["docs/contributing", "CHANGELOG"],
    "Reference": ["docs/glossary", "docs/bibliography"],
}
# The pages with a catalogue in docs/locale; the Chinese site has the others in English.
TRANSLATED = [
    "index",
    "docs/demo",
    "docs/glossary",
    "docs/results",
    "notebooks/00_problem_formalization",
]
# The pages whose headings are index entries, which the search lists first.
INDEXED = {"docs/contributing", "docs/glossary"}
# The packages whose __init__ exports their names, so that their modules need no pages.
EXPORTING = {
    ".".join(path.parent.relative_to(ROOT).parts)
    for path in ROOT.glob("mindlib/**/__init__.py")
    if "__all__" in path.read_text(encoding="utf-8")
}
OPTIONAL_ENGINES = {"mindlib.retrieval.faiss", "mindlib.retrieval.milvus"}
# "owner/name" of a GitHub repository: each notebook then links to its copy in Colab and Binder.
REPOSITORY = os.environ.get("MINDLIB_REPOSITORY", "")

project = "mindlib"
author = "mindlib contributors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
sys.path.insert(0, str(ROOT / "docs"))  # of numbered_figures
extensions = [
    "myst_nb",
    "autoapi.extension",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "numbered_figures",
]
exclude_patterns = ["**/.ipynb_checkpoints", "api/index.rst"]
locale_dirs = ["docs/locale"]  # below the source folder
gettext_compact = False
gettext_location = False  # a changed line number is no change of a message
smartquotes = False  # "K'_u" is searched for as it is written
default_role = "literal"  # docstrings are written in Markdown

nb_execution_mode = "off"
nb_render_markdown_format = "myst"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 4

autoapi_dirs = [str(ROOT / "mindlib")]
autoapi_ignore = ["*/lessons/*", "*/__main__.py"]
autoapi_root = "api"
suppress_warnings = ["autoapi.python_import_resolution"]  # of constants without a docstring
autoapi_add_toctree_entry = False
autoapi_options = ["members", "undoc-members", "show-inheritance", "imported-members"]
napoleon_use_ivar = True
add_module_names = False

if "messages" in tags:  # defined by Sphinx: the gettext build of `make site`
    extensions.remove("autoapi.extension")
    extensions.remove("numbered_figures")  # it would miss the figures of the other pages
    include_patterns = [f"{page}.*" for page in TRANSLATED]
    suppress_warnings += ["toc.not_readable", "myst.xref_missing"]

html_theme = "sphinx_book_theme"
html_title = f"mindlib {release}"
html_copy_source = False
html_search_language = "en"  # it also finds Chinese; Sphinx's own for Chinese lacks its stemmer
templates_path = ["templates"]
html_theme_options = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has the search
    "primary_sidebar_end": [],
    "use_download_button": False,
}
if REPOSITORY:
    html_theme_options |= {
        "repository_url": f"https://github.com/{REPOSITORY}",
        "repository_branch": "main",
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }
# The words beside a notebook's cells: the description of a figure, and of a folded input.
CELLS = {
    "en": {
        "alt": "Figure of the section “{section}” of notebook {title}; the text describes it",
        "show": "Show code cell {type}",
        "hide": "Hide code cell {type}",
    },
    "zh_CN": {
        "alt": "“{section}”一节的图（notebook {title}），正文有说明",
        "show": "显示代码",
        "hide": "隐藏代码",
    },
}
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
html_static_path = [
    str(ROOT / "docs/site.css"),
    str(ROOT / "docs/demo/demo.js"),
    str(distribution("sphinx-mathjax-offline").locate_file(MATHJAX)),
]
html_css_files = ["site.css"]
mathjax_path = "tex-svg.js"


def toctrees() -> str:
    """The pages, as the directives that order them in the sidebar."""
    parts = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])
        for caption, pages in PAGES.items()
    ]
    return "\n\n" + "\n\n".join(parts) + "\n"


def prepare_notebook(app: Sphinx, page: str, text: str) -> str:
    """Fold the cells that JupyterLab folds, and describe each figure by its section."""
    notebook = json.loads(text)
    language = app.config.language
    words, folders = CELLS[language], app.srcdir / locale_dirs[0]
    translate = gettext.translation(page, folders, [language], fallback=True).gettext
    title = section = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ (.+)$", "".join(cell["source"]), re.M)
            headings = [translate(heading).replace("\\", "") for heading in headings]
            title = title or "".join(headings[:1])
            section = "".join(headings[-1:]) or section
        elif cell["cell_type"] == "code":
            metadata = cell["metadata"]
            if metadata.get("jupyter", {}).get("source_hidden"):
                metadata["tags"] = [*metadata.get("tags", []), "hide-input"]
            alt = words["alt"].format(section=section, title=title)
            metadata["mystnb"] = {
                "image": {"alt": alt},
                "code_prompt_show": words["show"],
                "code_prompt_hide": words["hide"],
            }
    return json.dumps(notebook)


def prepare_source(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":  # the header has the languages
        source[0] = source[0].replace("English | [中文](README.zh.md)\n", "") + toctrees()
    elif page.startswith("notebooks/"):
        source[0] = prepare_notebook(app, page, source[0])


def prepare_docstring(app: object, kind: str, name: str, *arguments: list[str]) -> None:
    """Keep the bars of |x| from being read as the name of a substitution."""
    lines = arguments[-1]
    lines[:] = [line.replace("|", "\\|") for line in lines]


def leave_untranslated(app: Sphinx, document: nodes.document) -> None:
    """Keep equations, outputs and measured numbers out of the catalogues."""
    for node in document.findall(nodes.TextElement):
        text, is_cell = node.astext(), isinstance(node.parent, nodes.entry)
        is_number = not re.search("[A-Za-z]", text) or re.search(r"\[[-+−]?\d", text)
        if (
            isinstance(node, nodes.math_block)
            or (is_cell and is_number)
            or "with the code of commit" in text
        ):
            node["translatable"] = False
    for output in document.findall(nodes.container):
        if output.get("nb_element") == "cell_code_output":
            for node in output.findall(nodes.TextElement):
                node["translatable"] = False


class IndexHeadings(SphinxTransform):
    """Add the headings of some pages to the index, "term (synonym)" as two entries."""

    default_priority = 500  # after the translation, before Sphinx reads the entries

    def apply(self, **kwargs: object) -> None:
        if self.env.docname not in INDEXED:
            return
        for title in self.document.findall(nodes.title):
            section, text = title.parent, title.astext()
            pair = re.fullmatch(r"([^(（]+)[(（]([^(（]+)[)）]", text)
            terms = pair.groups() if pair else [text]
            names = [("single", term.strip(), section["ids"][0], "main", None) for term in terms]
            section.insert(1, index(entries=names))


def link_annotations(app: Sphinx, document: nodes.document) -> None:
    """Shorten types to their names, and link them to where their package exports them.

    A word of a shape, which Sphinx takes for a type, too, is not linked.
    """
    for reference in list(document.findall(pending_xref)):
        target = reference.get("reftarget", "")
        package, _, name = target.rpartition(".")
        if reference.get("refdomain") != "py" or reference.astext() != target:
            continue
        if not name.isidentifier():  # an array with its shape
            reference.replace_self(nodes.Text(target))
            continue
        reference.children = [nodes.Text(name)]
        if not package and name.islower():
            reference.replace_self(nodes.Text(name))
        for parent in EXPORTING - {"mindlib"}:
            if package.startswith(f"{parent}."):
                reference["reftarget"] = f"{parent}.{name}"
    for text in [text for text in document.findall(nodes.Text) if "jaxtyping." in text]:
        short = re.sub(r"\b(jaxtyping|torch|numpy)\.", "", text)
        text.parent.replace(text, nodes.Text(short))


def skip_member(
    app: object, kind: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Document a name once: where its package exports it, or else in its module."""
    package, _, _ = name.rpartition(".")
    if kind == "module" and package in EXPORTING:
        return name not in OPTIONAL_ENGINES
    if kind == "package":
        return name == "mindlib.data.readers" or skip
    return package == "mindlib" or (kind == "data" and package not in EXPORTING) or skip


def mend_accessibility(app: Sphinx, error: Exception | None) -> None:
    """Name the sidebar and its buttons, make empty headers of tables cells, mark English pages."""
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<th\b[^>]*><p></p></th>", "<td></td>", text)
        text = text.replace("<summary><span", '<summary aria-label="Subpages"><span')
        landmark = 'id="pst-primary-sidebar" role="navigation" aria-label="Site"'
        text = text.replace('id="pst-primary-sidebar"', landmark)
        name = page.relative_to(app.outdir).with_suffix("").as_posix()
        if name in app.env.found_docs - {*TRANSLATED}:
            text = text.replace(
                '<article class="bd-article"', '<article class="bd-article" lang="en"'
            )
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", prepare_source)
    app.add_transform(IndexHeadings)
    app.connect("autodoc-process-docstring", prepare_docstring)
    app.connect("doctree-read", leave_untranslated)
    app.connect("doctree-read", link_annotations)
    if "autoapi.extension" in extensions:
        app.connect("autoapi-skip-member", skip_member)
    app.connect("build-finished", mend_accessibility)
