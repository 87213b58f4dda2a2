"""The figure of the architecture: complete, legible and the same in every run."""

import itertools
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as Line
from matplotlib.text import Text

from mindlib.lessons.common.architecture import (
    ALT_TEXT,
    ARROWS,
    BLOCKS,
    DATA,
    SERVING,
    TRAINING,
    USER,
    architecture,
)
from mindlib.lessons.common.report import save_figure
from tests.lessons.test_figures import contrast

ROOT = Path(__file__).resolve().parents[3]


def texts(figure: Figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]


def fills(figure: Figure) -> list[str]:
    boxes = figure.findobj(FancyBboxPatch)
    return [to_hex(box.get_facecolor(), keep_alpha=True) for box in boxes]  # pyright: ignore[reportAttributeAccessIssue]


def test_every_block_and_every_tensor_is_named_once() -> None:
    shown = [text.get_text() for text in texts(architecture())]
    labels = [arrow.label for arrow in ARROWS]
    for text in [*(block.title for block in BLOCKS.values()), *labels]:
        assert shown.count(text) == 1, text
    assert all("(" in label for label in labels), "every tensor has a shape"
    assert all("§" in block.source for block in BLOCKS.values())


def test_every_arrow_runs_from_the_edge_of_its_first_block_to_those_of_the_others() -> None:
    def on_edge(name: str, point: tuple[float, float]) -> bool:
        block = BLOCKS[name]
        dx, dy = abs(point[0] - block.x), abs(point[1] - block.y)
        inside = dx <= block.width / 2 and dy <= block.height / 2
        return inside and (dx == block.width / 2 or dy == block.height / 2)

    for arrow in ARROWS:
        source, *targets = arrow.ends
        assert on_edge(source, arrow.paths[0][0]), arrow.label
        for target, path in zip(targets, arrow.paths, strict=True):
            assert on_edge(target, path[-1]), (arrow.label, target)
    assert {name for arrow in ARROWS for name in arrow.ends} == set(BLOCKS)


def test_no_text_overlaps_another_or_leaves_its_block_or_the_figure() -> None:
    figure = architecture()
    figure.canvas.draw()  # warnings, such as one about a missing glyph, are errors
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure)]
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (first, second)
    patches = [p.get_window_extent() for p in figure.findobj(FancyBboxPatch)]  # pyright: ignore[reportAttributeAccessIssue]
    to_pixels = figure.axes[0].transData
    lines = [Line(points).transformed(to_pixels) for arrow in ARROWS for points in arrow.paths]
    for name, box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, name
        for patch in patches:
            inside = patch.x0 <= box.x0 and box.x1 <= patch.x1
            inside &= patch.y0 <= box.y0 and box.y1 <= patch.y1
            assert inside or not box.overlaps(patch), name
        for line in lines:
            assert not line.intersects_bbox(box, filled=False), name


def test_highlighting_greys_the_other_blocks() -> None:
    everything, one = fills(architecture()), fills(architecture("attention"))
    assert "#00000000" not in everything
    assert one.count("#00000000") == len(BLOCKS) - 1
    assert f"{TRAINING}ff" in one
    assert f"{USER}ff" not in one
    assert fills(architecture(*BLOCKS)) == everything


def test_lettered_blocks_are_highlighted_and_have_their_letters() -> None:
    figure = architecture("head", A="embedding", B="softmax")
    assert fills(figure) == fills(architecture("head", "embedding", "softmax"))
    figure.canvas.draw()
    for letter, name in (("A", "embedding"), ("B", "softmax")):
        (text,) = (text for text in texts(figure) if text.get_text() == letter)
        assert text.get_color() == BLOCKS[name].color  # on white
        box = text.get_window_extent()
        assert box.x1 < figure.bbox.x1
        assert not any(box.overlaps(t.get_window_extent()) for t in texts(figure) if t is not text)


def test_blocks_read_on_both_pages() -> None:
    for fill in (DATA, USER, TRAINING, SERVING):
        assert contrast("#ffffff", fill) >= 4.5
        assert contrast(fill, "#111111") >= 3


def test_the_file_is_deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINDLIB_FIGURES", str(tmp_path))
    first = save_figure(architecture(), "first.svg").read_bytes()
    assert first == save_figure(architecture(), "again.svg").read_bytes()


def test_the_readme_shows_it_with_its_text_alternative() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"![{ALT_TEXT}](figures/00_architecture.svg)" in readme.replace("\n", " ")
