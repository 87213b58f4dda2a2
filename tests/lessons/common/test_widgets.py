"""Figures with controls, with a kernel and without."""

import base64
import io
import re

import ipywidgets
import pytest
from matplotlib import pyplot as plt
from matplotlib.image import imread
from playwright.sync_api import sync_playwright

from mindlib.lessons.common import widgets
from tests.jupyterlab import chromium

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


def html_of_frames(monkeypatch, *arguments, **values):
    outputs = []
    monkeypatch.setattr(widgets, "display", outputs.append)
    widgets.frames(*arguments, **values)
    (output,) = outputs
    return output.data


def test_frames_have_all_pictures_once_and_leave_no_figure_open(monkeypatch):
    plt.close("all")
    text = html_of_frames(monkeypatch, draw_line, "A line.", {"height": 5}, height=[1, 5, 9])
    addresses = re.findall(r'data:image/png;base64,([^"]+)', text)
    assert len(set(addresses)) == len(addresses) == 3
    assert all(base64.b64decode(address).startswith(PNG) for address in addresses)
    shapes = {imread(io.BytesIO(base64.b64decode(address))).shape for address in addresses}
    assert shapes == {(200, 200, 4)}
    assert plt.get_fignums() == []
    assert "http" not in text


def test_too_many_frames_are_refused():
    with pytest.raises(ValueError, match=r"^20 frames: expected at most 12; leave out"):
        widgets.frames(draw_line, "", height=range(20))


@pytest.mark.browser
def test_frames_move_by_keyboard_and_a_page_without_scripts_has_the_first(monkeypatch):
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium: install chromium or google-chrome, and have it on the PATH")

    def draw(height, mark):
        return draw_line(height + len(mark) / 9)

    values = {"height": [1, 5, 9], "mark": ["<b>", "</script>"]}
    text = html_of_frames(monkeypatch, draw, 'A "line".', {"height": 5}, **values)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(text)
        height, mark = page.get_by_role("slider").all()
        assert page.locator("label").all_inner_texts() == ["height5", "mark<b>"]
        picture = page.get_by_alt_text('A "line".')
        seen = [picture.get_attribute("src")]
        for slider, key in [(height, "End"), (height, "ArrowLeft"), (mark, "ArrowRight")]:
            slider.press(key)
            seen.append(picture.get_attribute("src"))
        assert seen[2] == seen[0]
        assert len(set(seen)) == 3
        assert mark.get_attribute("aria-valuetext") == "</script>"
        still = browser.new_context(java_script_enabled=False).new_page()
        still.set_content(text)
        assert still.get_by_alt_text('A "line".').get_attribute("src") == seen[0]
        assert still.get_by_role("slider").count() == 0
        browser.close()
