"""Every figure draws without a warning, and reads on light and on dark pages."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n05_experiments.item_map import GENRE_COLORS
from tests.lessons.n00_problem import test_figures as n00
from tests.lessons.n01_routing import test_figures as n01
from tests.lessons.n02_b2i import test_figures as n02
from tests.lessons.n03_attention import test_figures as n03
from tests.lessons.n04_training import test_figures as n04
from tests.lessons.n05_experiments import test_figures as n05
from tests.lessons.n06_online import test_figures as n06

pytestmark = pytest.mark.slow

FIGURES: dict[str, Callable[[], Figure]] = {
    f"{module.__name__.removeprefix('tests.lessons.')}-{name}": draw
    for module in (n00, n01, n02, n03, n04, n05, n06)
    for name, draw in module.FIGURES.items()
}
# Text of these colours lies on filled cells or stars of the figure, whatever the page.
ON_FILLED = {"#ffffff", "#222222"}


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""

    def luminance(color: str) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("colors", "ratio"), [(("#ffffff", "#000000"), 21), (("#777777", "#ffffff"), 4.48)]
)
def test_contrast_is_that_of_the_standard(colors: tuple[str, str], ratio: float) -> None:
    assert contrast(*colors) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_every_colour_stands_out_from_the_page(page: str) -> None:
    assert not [c for c in (INK, *COLORS, *GENRE_COLORS) if contrast(c, page) < 3]
    assert len({INK, *COLORS}) == len(COLORS) + 1


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_and_reads_on_both_pages(name: str) -> None:
    figure = FIGURES[name]()
    figure.canvas.draw()  # warnings are errors
    assert all(to_rgba(part.get_facecolor())[3] == 0 for part in (figure, *figure.axes))
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text().strip()]
    used = {to_hex(t.get_color()) for t in texts}
    assert used
    filled = ("-gallery", "-iterations", "-map_figure", "-sums_of_weights")
    on_filled = ON_FILLED if name.endswith(filled) else set()
    assert used <= {INK, *COLORS, *GENRE_COLORS} | on_filled
