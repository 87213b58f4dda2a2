"""In JupyterLab the notebooks run, controls update their figures, and both themes are readable."""

import base64
import io
import re
import shutil
import time
from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator
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
    moves,
    start,
)
from tests.lessons.test_figures import contrast
from tests.test_notebooks import NOTEBOOKS, QUICK

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "build" / "browser"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
EXPLORED = re.compile(r"\bexplore\(")
ADDRESS = re.compile(r"(?<=data:image/png;base64,)[\w+/=]+")
ONE_VIEW = """
import ipywidgets
from matplotlib import pyplot as plt
from mindlib.lessons.common.widgets import explore

def draw(height, nothing):
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.axhline(height)
    axes.set_ylim(0, 10)
    return figure

view = explore(
    draw,
    height=ipywidgets.IntSlider(3, 0, 10, description="height"),
    nothing=ipywidgets.Dropdown(options=["this", "that"], description="nothing"),
)
"""
FRAMES = """
from mindlib.lessons.common.widgets import frames
frames(lambda height: draw(height, 0), "A line.", {"height": 3}, height=[1, 3, 5])
"""
OURS = {
    "frames": [ONE_VIEW, FRAMES],
    "broken": ["1 + 1", "raise LookupError('no such capsule')", "2 + 2"],
    "dead": [ONE_VIEW],
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


def views(notebook: OpenNotebook) -> list[Locator]:
    """Return the live view of each cell that calls `explore`."""
    found = []
    for number, cell in enumerate(notebook.cells()):
        if cell.cell_type == "code" and (calls := EXPLORED.findall(cell.source)):
            live = notebook.node(number).locator(".widget-vbox:has(> img)")
            assert live.count() == len(calls), f"cell {number}: {live.count()} live views"
            found += live.all()
    return found


def picture(view: Locator) -> str:
    """Return the bytes of the view's picture in hexadecimal digits, once it is drawn."""
    return view.locator("> img").evaluate(
        """async image => {
            await image.decode();
            const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
            return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
        }"""
    )


def settled(notebook: OpenNotebook, view: Locator) -> str:
    """Return the view's picture after all messages are processed."""
    notebook.wait_for_kernel()
    return picture(view)


def moved(notebook: OpenNotebook, view: Locator, before: str) -> str:
    """Return the view's picture when it differs from `before`, or after three seconds."""
    end = time.monotonic() + 3
    while (now := settled(notebook, view)) == before and time.monotonic() < end:
        time.sleep(0.1)
    return now


def idle_moves(notebook: OpenNotebook, view: Locator) -> list[str]:
    """List the moves of controls that leave the picture unchanged or do not restore it."""
    return [
        f"{name or 'play'}: {problem}"
        for control in view.locator("> :not(img)").all()
        for name in [control.inner_text().split("\n")[0]]
        for problem in _idle_moves(notebook, view, control)
    ]


def _idle_moves(notebook: OpenNotebook, view: Locator, control: Locator) -> Iterator[str]:
    # Move once and back first, because a slider may start between the steps of its grid.
    first, *_ = moves(control)
    first.go()
    notebook.wait_for_kernel()
    first.back()
    home = settled(notebook, view)
    for move in moves(control):
        move.go()
        away = moved(notebook, view, home)
        if away == home:
            yield f"at {move.name} the picture stays as it was"
        move.back()
        back = settled(notebook, view)
        if move.exact and back != home:
            yield f"back from {move.name} the picture is not the one before"
        home = back


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
    return float(counts[faint].sum() / counts.sum())


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


def test_a_control_that_does_nothing_is_named(lab: Lab) -> None:
    with lab.open("notebooks/dead.ipynb") as notebook:
        notebook.run_all(seconds=60)
        assert not notebook.failures()
        (view,) = views(notebook)
        assert idle_moves(notebook, view) == ["nothing: at 'that' the picture stays as it was"]


def test_frames_follow_the_keyboard(lab: Lab) -> None:
    with lab.open("notebooks/frames.ipynb") as notebook:
        notebook.run_all(seconds=60)
        assert not notebook.failures()
        slider = notebook.node(1).get_by_role("slider")
        frame = notebook.node(1).get_by_alt_text("A line.")
        seen = [frame.get_attribute("src")]
        for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "Home"):
            slider.press(key)
            seen.append(frame.get_attribute("src"))
        assert seen[1] == seen[3]
        assert seen[0] == seen[2]
        assert len(set(seen)) == 3
        assert slider.get_attribute("aria-valuetext") == "1"


@pytest.mark.parametrize(("ink", "share"), [("#7a7a7a", 0), ("#222222", 1), ("#dddddd", 0)])
def test_faint_lines_are_found_and_areas_are_not_lines(ink: str, share: float) -> None:
    image = np.zeros((40, 40, 4))
    image[5:7, :20] = to_rgba(ink)
    image[15:35, 15:35] = to_rgba("#222222")
    assert faint_share(image, "#111111") == share


def test_every_cell_runs(opened: OpenNotebook) -> None:
    failures = opened.failures()
    assert not failures, "\n".join(failures)


def test_every_control_moves_its_picture(ran: OpenNotebook) -> None:
    problems = [problem for view in views(ran) for problem in idle_moves(ran, view)]
    assert not problems


def test_every_label_is_shown_whole(ran: OpenNotebook) -> None:
    labels = ran.page.locator(f"{PANEL} .widget-label")
    cut = labels.evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    )
    assert not cut


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


def test_a_saved_notebook_keeps_a_picture_of_every_view(ran: OpenNotebook) -> None:
    for cell in ran.save().cells:
        if cell.cell_type == "code" and EXPLORED.search(cell.source):
            kinds = [set(output.get("data", {})) for output in cell.outputs]
            assert any({WIDGET_VIEW, "image/png"} <= kind for kind in kinds)
