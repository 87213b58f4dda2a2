"""In JupyterLab the notebooks run, controls update their figures, and both themes are readable."""

import base64
import io
import re
import shutil
from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread
from nbformat.v4 import new_code_cell, new_notebook
from scipy.ndimage import binary_dilation, binary_opening

from mindlib.lessons.common.style import COLORS, INK
from tests.jupyterlab import (
    PANEL,
    ROOT,
    THEMES,
    Lab,
    OpenNotebook,
    chromium,
    copy_pair,
    start,
)
from tests.lessons.test_figures import contrast
from tests.test_notebooks import NOTEBOOKS, QUICK

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "build" / "browser"
ADDRESS = re.compile(r"(?<=data:image/png;base64,)[\w+/=]+")
VIEWS = """
from matplotlib import pyplot as plt
from mindlib.lessons.common.widgets import frames

def draw(height, nothing=0):
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.axhline(height)
    axes.set_ylim(0, 10)
    return figure

frames(draw, "A line.", {"height": 3}, height=[1, 3, 5])
frames(draw, "Another line.", height=[1, 3], nothing=["this", "that"])
"""
OURS = {
    "frames": [VIEWS],
    "broken": ["1 + 1", "raise LookupError('no such capsule')", "2 + 2"],
}
# Each text of the notebook with its color and the color behind it. Code is not included, because
# JupyterLab colors it.
TEXTS = """[...(function* () {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], below) =>
        [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const behind = element => {
        if (!element) return [255, 255, 255];
        const own = parse(getComputedStyle(element).backgroundColor);
        return own.length < 4 ? own : over(own, behind(element.parentElement));
    };
    const ours = ".jp-RenderedMarkdown, .jp-OutputArea-output";
    const walk = document.createTreeWalker(panel.content.node, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.data.trim(), element = walk.currentNode.parentElement;
        if (!text || !element.closest(ours) || element.closest(".cm-editor")) continue;
        if (!element.checkVisibility({ visibilityProperty: true })) continue;
        const below = behind(element);
        yield [text, over(parse(getComputedStyle(element).color), below), below];
    }
})()]"""
# JupyterLab's light theme shows the brackets of code at a contrast of 2.9:1.
BRACKETS = set("[]{}()")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium: install chromium or google-chrome, and have it on the PATH")
    folder = tmp_path_factory.mktemp("jupyterlab")
    copies = folder / "root" / "notebooks"
    copies.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", copies.parent)  # its jupytext section pairs the files
    for notebook in NOTEBOOKS:
        copy_pair(notebook, copies, QUICK.get(notebook.stem, {}))
    for name, sources in OURS.items():
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [new_code_cell(source) for source in sources]
        book = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(book, copies / f"{name}.ipynb")
    with start(executable, folder, copies.parent) as lab:
        yield lab


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request: pytest.FixtureRequest, lab: Lab) -> Iterator[OpenNotebook]:
    with lab.open(f"notebooks/{request.param.name}") as notebook:
        notebook.run_all(seconds=600)
        yield notebook


@pytest.fixture
def ran(opened: OpenNotebook) -> OpenNotebook:
    if opened.failures():
        pytest.skip("test_every_cell_runs says why")
    return opened


def idle_sliders(notebook: OpenNotebook) -> list[str]:
    """List the sliders that leave their picture as it is, each by its label."""
    found = []
    for view in notebook.page.locator(f"{PANEL} div:has(> label > input[type=range])").all():
        picture = view.locator("> img")
        for label in view.locator("> label").all():
            slider = label.get_by_role("slider")
            slider.press("Home")
            seen = {picture.get_attribute("src")}
            for _ in range(int(slider.get_attribute("max") or 0)):
                slider.press("ArrowRight")
                seen.add(picture.get_attribute("src"))
            if len(seen) == 1:
                found.append(label.inner_text())
    return found


def images(notebook: OpenNotebook) -> Iterator[tuple[int, np.ndarray]]:
    """The pictures in the notebook's outputs, each with its cell's number."""
    for number, cell in enumerate(notebook.cells()):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for png in [data.get("image/png"), *ADDRESS.findall(data.get("text/html", ""))]:
                if png:
                    yield number, imread(io.BytesIO(base64.b64decode(png)))


def faint_share(image: np.ndarray, page: str) -> float:
    """The share of a picture's lines and letters that do not reach 3:1 on the page's colour.

    Lines and letters are the opaque pixels without the areas: a colour map may reach from dark to
    light. An area is what a square of 5 pixels fits into, with what is at its edge.

    Args:
        image: (height, width, 4), from 0 to 1.
    """
    opaque = image[..., 3] > 0.98
    areas = binary_dilation(binary_opening(opaque, np.ones((5, 5))), np.ones((9, 9)))
    colors, counts = np.unique(
        image[opaque & np.logical_not(areas)][:, :3], axis=0, return_counts=True
    )
    faint = [contrast(to_hex(color), page) < 3 for color in colors]
    return float(counts[faint].sum() / max(counts.sum(), 1))  # 0 for a picture of areas alone


def color(rgb: list[float]) -> str:
    red, green, blue = (value / 255 for value in rgb)
    return to_hex((red, green, blue))


def test_a_cell_that_raises_is_named_with_its_error(lab: Lab) -> None:
    with lab.open("notebooks/broken.ipynb") as notebook:
        notebook.run_all(seconds=60)
        assert notebook.failures() == [
            "cell 1: LookupError: no such capsule (at: raise LookupError('no such capsule'))",
            "cells that have not run: [2]",
        ]


def test_frames_follow_the_keyboard_and_an_idle_slider_is_named(lab: Lab) -> None:
    with lab.open("notebooks/frames.ipynb") as notebook:
        notebook.run_all(seconds=60)
        assert not notebook.failures()
        slider = notebook.node(0).get_by_role("slider").first
        frame = notebook.node(0).get_by_alt_text("A line.")
        seen = [frame.get_attribute("src")]
        for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "Home"):
            slider.press(key)
            seen.append(frame.get_attribute("src"))
        assert seen[1] == seen[3]
        assert seen[0] == seen[2]
        assert len(set(seen)) == 3
        assert slider.get_attribute("aria-valuetext") == "1"
        assert idle_sliders(notebook) == ["nothingthat"]


@pytest.mark.parametrize(("ink", "share"), [("#7a7a7a", 0), ("#222222", 1), ("#dddddd", 0)])
def test_faint_lines_are_found_and_areas_are_not_lines(ink: str, share: float) -> None:
    image = np.zeros((40, 40, 4))
    image[5:7, :20] = to_rgba(ink)
    image[15:35, 15:35] = to_rgba("#222222")
    assert faint_share(image, "#111111") == share


def test_every_cell_runs(opened: OpenNotebook) -> None:
    failures = opened.failures()
    assert not failures, "\n".join(failures)


def test_every_slider_moves_its_picture(ran: OpenNotebook) -> None:
    assert not idle_sliders(ran)


def test_every_formula_is_set(ran: OpenNotebook) -> None:
    formulas = ran.page.locator(f"{PANEL} mjx-container")
    assert formulas.count()
    assert not formulas.locator("mjx-merror, [data-mjx-error]").all_inner_texts()


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_figures_read(ran: OpenNotebook, theme: str) -> None:
    ran.use_theme(theme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = f"{ran.file.stem}-{theme}"
    for old in SCREENSHOTS.glob(f"{name}-*.png"):
        old.unlink()
    ran.photograph(SCREENSHOTS, name)

    texts = ran.ask(TEXTS)
    assert len(texts) > 100
    faint = {
        (text, color(ink), color(below))
        for text, ink, below in texts
        if contrast(color(ink), color(below)) < 3 and text not in BRACKETS
    }
    assert not faint

    below = ran.ask("getComputedStyle(panel.content.node).backgroundColor")
    page = color([float(value) for value in re.findall(r"\d+", below)])
    assert all(contrast(ink, page) >= 3 for ink in (INK, *COLORS))
    boxes = ran.page.locator(f"{PANEL} img[class*=needs]")
    assert not boxes.count(), "a figure lies on a box of its own, not on the page"
    pale = {
        f"cell {number}": share
        for number, image in images(ran)
        if (share := faint_share(image, page)) > 0.05
    }
    assert not pale
