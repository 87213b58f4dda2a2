"""The live demo computes in the browser what `ExportedModel` computes here.

The tests need the built site (`make site`) and skip without it, as those of tests/test_site.py.
"""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.jupyterlab import ROOT, chromium

SITE = ROOT / "build" / "site"
DEMO = SITE / "_static" / "demo"
SLOW = 60_000  # milliseconds that a busy machine may need
pytestmark = [
    pytest.mark.browser,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not DEMO.is_dir(), reason="the site is not built: make site"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/docs/demo.html"
        server.shutdown()


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium: install chromium or google-chrome, and have it on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#demo[data-ready]", timeout=SLOW)
        yield page
        browser.close()


def titles(page: Page, part: str) -> list[str]:
    rows = page.locator(f'[data-part="{part}"] li button')
    return [str(row.get_attribute("aria-label")) for row in rows.all()]


@pytest.mark.parametrize(("interests", "iterations"), [(1, 1), (4, 3), (8, 2)])
def test_the_vectors_equal_those_of_the_export(page: Page, interests: int, iterations: int) -> None:
    films = [3, 1, 4, 15, 9, 2, 6, 5, 35]
    found = page.evaluate(
        "async ([films, k, r]) => { const u = await demo.interestsOf(films, k, r);"
        "return [[...u.vectors], u.active, [...u.coupling]] }",
        [films, interests, iterations],
    )
    facts = json.loads((DEMO / "films.json").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(DEMO / f"k{interests}-r{iterations}.onnx", options)
    items = np.array([films])
    profile = np.array([[code for _, code, _ in facts["profile"]]])
    inputs = {"items": items, "mask": items > 0, "profile": profile}
    vectors, active, coupling = map(np.asarray, session.run(None, inputs))
    assert found[1] == active[0].tolist()
    assert np.abs(vectors - np.reshape(found[0], vectors.shape)).max() < 1e-4
    assert np.abs(coupling - np.reshape(found[2], coupling.shape)).max() < 1e-4


def test_a_visitor_adds_and_removes_a_film_by_keyboard(page: Page) -> None:
    before = titles(page, "merged")
    facts = json.loads((DEMO / "films.json").read_text(encoding="utf-8"))
    title = next(
        film["title"]
        for number, film in enumerate(facts["films"], start=1)
        if number not in facts["start"]
    )
    page.locator('[data-part="search"]').focus()
    page.keyboard.type(title)
    page.keyboard.press("Enter")
    table = page.locator('[data-part="coupling"] tbody tr')
    expect(table).to_have_count(len(facts["start"]) + 1, timeout=SLOW)
    assert titles(page, "merged") != before
    page.get_by_role("button", name=f"Remove {title}", exact=True).press("Enter")
    expect(table).to_have_count(len(facts["start"]), timeout=SLOW)
    assert titles(page, "merged") == before


def test_one_vector_is_compared_and_k_changes_the_lists(page: Page) -> None:
    page.locator('[data-part="compare"]').check()
    expect(page.locator('[data-part="single"] li').first).to_be_visible(timeout=SLOW)
    sections = page.locator('[data-part="lists"] section')
    assert sections.count() > 1
    page.locator('[data-part="interests"]').select_option("1")
    expect(sections).to_have_count(1, timeout=SLOW)
    assert titles(page, "merged")[:8] == titles(page, "single")[:8]


def test_an_empty_history_is_served_from_the_profile(page: Page) -> None:
    page.get_by_role("button", name="Remove all films").click()
    expect(page.locator('[data-part="status"]')).to_contain_text("Films: 0.", timeout=SLOW)
    assert titles(page, "merged")
