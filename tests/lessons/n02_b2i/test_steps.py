"""The differences between cells, and the comparison with mindlib, of the committed page too."""

from pathlib import Path

import nbformat
import torch

from mindlib.lessons.n02_b2i import steps
from mindlib.lessons.n02_b2i.steps import report_equality

PAGE = Path(__file__).resolve().parents[3] / "notebooks" / "02_b2i_routing.ipynb"


def before(x):
    y = x + 1
    return y


def after(x):
    y = x + 2
    return y


def test_changed_lines_are_marked(monkeypatch):
    shown = []
    monkeypatch.setattr(steps, "display", shown.append)
    steps.show_diff(before, after)
    assert shown[0].data.splitlines() == [
        "```diff",
        "- def before(x):", "+ def after(x):", "-     y = x + 1", "+     y = x + 2",
        "```",
    ]  # fmt: skip


def test_equality_is_reported_without_an_error(capsys):
    assert report_equality("f", [(torch.ones(2), torch.ones(2) + 1e-7)])
    assert not report_equality("f", [(torch.ones(2), torch.zeros(2))])
    assert not report_equality("f", [(torch.ones(2), torch.ones(1))])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" mindlib")[0] for line in printed] == [
        "f: equal to", "f: DIFFERENT FROM", "f: DIFFERENT FROM",
    ]  # fmt: skip


def test_every_cell_of_the_committed_page_equals_mindlib():
    cells = nbformat.read(PAGE, as_version=4).cells
    outputs = [o for cell in cells if cell.cell_type == "code" for o in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert text.count("equal to mindlib on random input") == 5
    assert "DIFFERENT FROM" not in text


def test_each_of_the_three_changes_has_at_most_three_lines():
    cells = nbformat.read(PAGE, as_version=4).cells
    outputs = [o for cell in cells if cell.cell_type == "code" for o in cell.outputs]
    shown = [o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    changes = [text for text in shown if text.startswith("```diff")]
    assert len(changes) == 3
    for change in changes:
        assert 1 <= sum(line.startswith("+ ") for line in change.splitlines()) <= 3
