"""The page shows the source that runs, in a form that a theme can colour."""

import pytest

from mindlib.layers.pooling import ItemEmbedding
from mindlib.layers.routing import squash
from mindlib.lessons.common import page


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(page, "display", lambda markdown: texts.append(markdown.data))
    return texts


def test_a_functions_source_is_shown_with_its_place(shown: list[str]) -> None:
    page.show_source(squash)
    (text,) = shown
    assert text.startswith("`mindlib.layers.routing.squash`\n```python\ndef squash(")
    assert text.endswith("\n```")


def test_a_method_is_shown_without_its_indentation(shown: list[str]) -> None:
    page.show_source(ItemEmbedding.forward)
    assert "```python\ndef forward(" in shown[0]
    assert '\n    """' in shown[0]


def test_a_table_has_a_line_for_each_row_and_as_many_columns_as_the_head(shown: list[str]) -> None:
    page.show_table(["name", "a", "b"], [["x", 1, 2.5], ["y", "3 ± 1", None]])
    assert shown == ["| name | a | b |\n|---|--:|--:|\n| x | 1 | 2.5 |\n| y | 3 ± 1 | None |"]


def test_a_bar_in_a_cell_does_not_end_the_cell(shown: list[str]) -> None:
    page.show_table(["length |e|", "n"], [["|e| = 1", 2]])
    assert shown == ["| length \\|e\\| | n |\n|---|--:|\n| \\|e\\| = 1 | 2 |"]
