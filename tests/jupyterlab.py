"""JupyterLab on a copy of the notebooks, driven in a headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Record which messages to the kernel are pending, those of views included.
LISTEN = """(_, { msg, direction }) => {
    window.asked ??= new Set();
    window.lastMessage = performance.now();
    if (direction === "send") {
        window.asked.add(msg.header.msg_id);
    } else if (msg.content.execution_state === "idle") {
        window.asked.delete(msg.parent_header.msg_id);
    }
}"""
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def set_parameters(source: str, values: dict[str, object]) -> str:
    """The source with other defaults in its parameters cell, of the form `name: type = value`."""
    for name, value in values.items():
        source, found = re.subn(
            rf"^({name}: \w+ = )[^#\n]*?(?= *(?:#|$))",
            lambda line, value=value: line[1] + repr(value),
            source,
            count=1,
            flags=re.M,
        )
        if not found:
            raise ValueError(f"no parameter {name!r} of the form `{name}: type = value`")
    return source


def copy_pair(notebook: Path, folder: Path, values: dict[str, object]) -> None:
    """Copy a notebook and its .py, both with the same parameters."""
    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = set_parameters(cell.source, values)
    script = notebook.with_suffix(".py").read_text(encoding="utf-8")
    (folder / f"{notebook.stem}.py").write_text(set_parameters(script, values), encoding="utf-8")
    nbformat.write(book, folder / notebook.name)


@dataclass(frozen=True)
class OpenNotebook:
    """A notebook in its tab of JupyterLab."""

    page: Page
    file: Path

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript that sees JupyterLab's `app` and the notebook's `panel`."""
        return self.page.evaluate(
            "async () => { const app = window.jupyterapp, panel = app.shell.currentWidget;"
            f" return await ({expression}); }}"
        )

    def cells(self) -> list[NotebookNode]:
        return nbformat.from_dict(self.ask("panel.model.toJSON()")).cells

    def run_all(self, seconds: float) -> None:
        """Run every cell in order, until the last is done or one fails."""
        self.ask("app.commands.execute('notebook:clear-all-cell-outputs')")
        assert not any(cell.get("execution_count") for cell in self.cells())
        run = "app.commands.execute('notebook:run-all-cells').then(() => true)"
        limit = f"new Promise(done => setTimeout(() => done(false), {1000 * seconds}))"
        if not self.ask(f"Promise.race([{run}, {limit}])"):
            raise TimeoutError(f"still running after {seconds} s: {self.failures()}")

    def failures(self) -> list[str]:
        """Describe the errors of code cells, and list the cells that have not run."""
        found, idle = [], []
        for number, cell in enumerate(self.cells()):
            if cell.cell_type != "code":
                continue
            for output in cell.outputs:
                if output.output_type == "error":
                    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))
                    (*_, line) = re.findall(r"^-+> *\d+ *(.*)$", trace, flags=re.M) or [""]
                    found.append(f"cell {number}: {output.ename}: {output.evalue} (at: {line})")
            if cell.source.strip() and cell.execution_count is None:
                idle.append(number)
        return found + ([f"cells that have not run: {idle}"] if idle else [])

    def wait_for_kernel(self) -> None:
        """Wait until the kernel has answered all messages and was quiet for 200 ms."""
        self.page.wait_for_function(
            "() => window.asked.size === 0 && performance.now() - window.lastMessage > 200"
        )

    def node(self, cell: int) -> Locator:
        return self.page.locator(f"{PANEL} .jp-Notebook .jp-Cell").nth(cell)

    def save(self) -> NotebookNode:
        """Save the notebook in JupyterLab and return it as read from the disk."""
        self.ask("panel.context.save()")
        return nbformat.read(self.file, as_version=4)

    def use_theme(self, theme: str) -> None:
        self.ask(f"app.commands.execute('apputils:change-theme', {{theme: '{THEMES[theme]}'}})")
        light = str(theme == "light").lower()
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        self.page.wait_for_timeout(500)  # the colours' own transitions

    def photograph(self, folder: Path, name: str) -> None:
        """Save screenshots of the whole page, from top to bottom, as NAME-01.png and so on."""
        scroller = self.page.locator(f"{PANEL} .jp-WindowedPanel-outer")
        height, shown = scroller.evaluate("e => [e.scrollHeight, e.clientHeight]")
        for number, top in enumerate(range(0, height, shown), start=1):
            scroller.evaluate(f"e => {{ e.scrollTop = {top}; }}")
            scroller.screenshot(path=folder / f"{name}-{number:02d}.png")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab and a browser for it."""

    browser: Browser
    address: str
    root: Path

    @contextmanager
    def open(self, path: str) -> Iterator[OpenNotebook]:
        """Open a notebook, with a kernel of its own while it is open."""
        page = self.browser.new_page(viewport={"width": 1200, "height": 1500})
        page.set_default_timeout(60_000)
        for _ in range(100):
            try:
                page.goto(f"{self.address}lab/tree/{path}?reset")  # an empty workspace
                break
            except Error as error:  # the server names its address just before it listens there
                if "ERR_CONNECTION_REFUSED" not in error.message:
                    raise
                time.sleep(0.1)
        page.wait_for_selector(f"{PANEL} .jp-Notebook .jp-Cell")
        notebook = OpenNotebook(page, self.root / path)
        notebook.ask("Promise.all([panel.context.ready, panel.sessionContext.ready])")
        notebook.ask(f"panel.sessionContext.session.kernel.anyMessage.connect({LISTEN})")
        notebook.ask("app.shell.collapseLeft()")
        try:
            yield notebook
        finally:
            notebook.ask("panel.sessionContext.shutdown()")
            page.close()


@contextmanager
def start(executable: str, folder: Path, root: Path) -> Iterator[Lab]:
    """Serve `root` to a browser, with settings in `folder` and without those of the user."""
    for name, values in SETTINGS.items():
        path = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    own = ("JUPYTER", "JPY_", "MINDLIB_OUTPUT", "MPLBACKEND")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "MINDLIB_FIGURES": str(folder / "figures"),
    }
    log = folder / "server.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--IdentityProvider.token="]
    command += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={root}"]
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=executable,
            args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],  # no other host
        ) as browser,
    ):
        try:
            yield Lab(browser, _address(server, folder / "runtime", log), root)
        finally:
            server.terminate()


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    for _ in range(600):
        for path in runtime.glob("jpserver-*.json"):
            return json.loads(path.read_text(encoding="utf-8"))["url"]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")
