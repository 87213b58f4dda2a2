"""A Sphinx extension that links each mention of a figure to the figure's caption.

A caption is a paragraph below the figure that begins with "**Figure 5.3.**", in Chinese with
"**图 5.3**". It gets the id `figure-5-3`. Prose that mentions "Figure 5.3" or "Figures 5.3 and
5.6", on any page, links to it, and Sphinx warns of a mention of a figure that does not exist.
"""

import re
from collections.abc import Iterator
from itertools import groupby

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

NUMBER = r"[0-9A-Z]\.\d+"
CAPTION = re.compile(rf"(?:Figure|图)\s*({NUMBER})\.?")
MENTION = re.compile(
    rf"\bFigure\s+{NUMBER}"
    rf"|\bFigures\s+{NUMBER}(?:(?:,\s*and|,|\s+and|\s+or|\s+to|–)\s*{NUMBER})*"
    rf"|图\s*{NUMBER}(?:\s*[、和与或至到]\s*{NUMBER})*"
)
# The word belongs to the link of the first number.
LINK = re.compile(rf"(?:Figures?\s+|图\s*)?({NUMBER})")
WITHOUT_LINKS = (
    nodes.FixedTextElement,  # blocks of code and of mathematics
    nodes.literal,
    nodes.math,
    nodes.reference,
    nodes.title,
    pending_xref,
)


def figure_id(number: str) -> str:
    return f"figure-{number.replace('.', '-').lower()}"


def link_mentions(text: str, page: str) -> Iterator[nodes.Node]:
    """Split a text into references to figures and the text between them."""
    end = 0
    for mention in MENTION.finditer(text):
        for link in LINK.finditer(text, *mention.span()):
            yield nodes.Text(text[end : link.start()])
            end = link.end()
            yield pending_xref(
                "",
                nodes.Text(link[0]),
                refdoc=page,
                refdomain="std",
                reftype="ref",
                reftarget=figure_id(link[1]),
                refexplicit=True,
                refwarn=True,
            )
    yield nodes.Text(text[end:])


def is_unlinked(node: nodes.Element | None) -> bool:
    return node is not None and (isinstance(node, WITHOUT_LINKS) or is_unlinked(node.parent))


def number_figures(app: Sphinx, document: nodes.document) -> None:
    """Give each caption its id, and link each mention of a figure."""
    page, numbers = app.env.docname, list[nodes.strong]()
    for strong in document.findall(nodes.strong):
        number, paragraph = CAPTION.fullmatch(strong.astext()), strong.parent
        if number and paragraph.astext().startswith(number[0]):
            numbers.append(strong)
            name = figure_id(number[1])
            paragraph["ids"].append(name)
            app.env.domains.standard_domain.note_hyperlink_target(name, page, name)
    for element in list(document.findall(nodes.TextElement)):
        if element in numbers or is_unlinked(element) or not MENTION.search(element.astext()):
            continue
        children = element.children
        element.clear()
        # A line break splits a sentence into several texts.
        for is_text, group in groupby(children, lambda node: isinstance(node, nodes.Text)):
            parts = [*group]
            text = "".join(part.astext() for part in parts)
            element += link_mentions(text, page) if is_text else parts


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", number_figures)
    return {"parallel_read_safe": True}
