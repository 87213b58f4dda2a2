"""One output, two forms: a live view, and a picture for pages without a kernel."""

import base64

import ipywidgets
import pytest
from matplotlib import pyplot as plt

from mindlib.lessons.common import widgets

PNG = b"\x89PNG\r\n"


def draw_line(height):
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.axhline(height)
    axes.set_ylim(0, 10)
    return figure


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: outputs.append(bundle))
    return outputs


def test_the_output_carries_the_live_view_and_a_picture_that_a_notebook_can_store(shown):
    widgets.explore(draw_line, height=ipywidgets.IntSlider(3, 0, 10))
    (bundle,) = shown
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert isinstance(bundle["image/png"], bytes), "a memoryview would break the saving"
    assert bundle["image/png"].startswith(PNG)
    base64.b64encode(bundle["image/png"])


def test_moving_a_control_changes_the_picture(shown):
    slider = ipywidgets.IntSlider(3, 0, 10)
    view = widgets.explore(draw_line, height=slider)
    picture = view.children[-1]
    before = bytes(picture.value)
    slider.value = 8
    after = bytes(picture.value)
    assert after.startswith(PNG)
    assert after != before
    slider.value = 3
    assert bytes(picture.value) == before


def test_no_figure_is_left_open(shown):
    plt.close("all")
    slider = ipywidgets.IntSlider(3, 0, 10)
    widgets.explore(draw_line, height=slider)
    slider.value = 4
    assert plt.get_fignums() == []


def test_the_controls_stand_in_line_and_no_label_is_cut_off(shown):
    long, short = "the height of the line in the picture", "width"
    controls = {
        "height": ipywidgets.IntSlider(3, 0, 10, description=long),
        "width": ipywidgets.Dropdown(options=[1, 2], description=short),
    }
    widgets.explore(lambda height, width: draw_line(height * width), **controls)
    widths = {control.style.description_width for control in controls.values()}
    assert widths == {f"{len(long)}ch"}
    assert {c.layout.width for c in controls.values()} == {f"calc({len(long)}ch + 220px)"}
