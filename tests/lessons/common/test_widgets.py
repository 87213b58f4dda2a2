"""Figures with sliders work without a kernel, and without scripts."""

import base64
import io
import re

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
