"""The style in a notebook: figures lie on the page itself, whatever its colour."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt
from matplotlib.image import imread
from matplotlib_inline import backend_inline
from matplotlib_inline.config import InlineBackend

from mindlib.lessons.common.style import use_style


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    with mpl.rc_context({"backend": "Agg"}):
        use_style()
        yield shell
    plt.close("all")
    InlineBackend.clear_instance()
    InteractiveShell.clear_instance()


def test_a_figure_in_a_notebook_is_shown_without_a_background(shell: InteractiveShell) -> None:
    figure, _ = plt.subplots(figsize=(2, 2))
    formatter: Any = shell.display_formatter
    formats, _ = formatter.format(figure)
    image = imread(io.BytesIO(base64.b64decode(formats["image/png"])))
    assert image[0, 0, 3] == 0
    assert image[image.shape[0] // 2, image.shape[1] // 2, 3] == 0


@pytest.mark.usefixtures("shell")
def test_ipython_asks_for_no_box_behind_a_figure() -> None:
    figure, _ = plt.subplots(figsize=(2, 2))
    assert backend_inline._fetch_figure_metadata(figure) is None
