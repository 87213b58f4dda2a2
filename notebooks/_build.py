"""Execute notebooks/NN_*.py and appendix/*.py, and write the results to the .ipynb beside them.

    python notebooks/_build.py [NAME ...]        # all notebooks when none is named

The .py is the source: the .ipynb gets its cells, in order, and from the execution only outputs
and execution counts. A notebook that fails, or prints to stderr anything but a progress bar,
leaves the old .ipynb as it was. The figures go to figures/; the run itself, with the metrics it
writes, stays in build/notebooks/NAME.ipynb. Models that notebooks share are trained once a build.
"""

import base64
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PNG_ADDRESS = re.compile(r"(?<=data:image/png;base64,)[\w+/=]+")
PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d+\w*(it)? \[\d+:\d\d")  # tqdm with, and without a total
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class BuildError(Exception):
    pass


def is_progress_bar(text: str) -> bool:
    lines = [line for line in re.split(r"[\r\n]+", ANSI.sub("", text)) if line.strip()]
    return all(PROGRESS_BAR.search(line) for line in lines)


def with_palette(png: str) -> str:
    """A picture with 256 colours, in base64 as it was: a page of many pictures stays small."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    file = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    smaller = base64.b64encode(file.getvalue()).decode()
    return smaller if len(smaller) < len(png) else png


def kept_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs for a page: no progress bars, no live widgets, split streams joined again."""
    kept: list[NotebookNode] = []
    for output in outputs:
        last = kept[-1] if kept else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            # Without a kernel a live view is nothing; the picture beside it stays.
            live = output.get("data", {}).pop(WIDGET_VIEW, None) is not None
            if not live or any(kind.startswith("image/") for kind in output.data):
                kept.append(output)
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = with_palette(data["image/png"])
            if "text/html" in data:
                data["text/html"] = PNG_ADDRESS.sub(
                    lambda png: with_palette(png[0]), data["text/html"]
                )
    return [o for o in kept if o.get("name") != "stderr" or not is_progress_bar(o.text)]


def executed(name: str, source: NotebookNode) -> NotebookNode:
    """Run the notebook at its default parameters in this Python's own kernel."""
    run_path = ROOT / "build" / "notebooks" / f"{name}.ipynb"
    run_path.parent.mkdir(parents=True, exist_ok=True)
    os.environ["MINDLIB_OUTPUT"] = str(run_path)
    os.environ["MINDLIB_FIGURES"] = str(ROOT / "figures")
    with tempfile.TemporaryDirectory() as folder:
        input_path = Path(folder) / "input.ipynb"
        nbformat.write(source, input_path)
        try:
            return papermill.execute_notebook(
                input_path, run_path, kernel_name="python3", cwd=ROOT, progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            raise BuildError(f"{name}: a cell failed; see {run_path}\n{error}") from None


def build(name: str) -> None:
    source = jupytext.read(HERE / f"{name}.py")
    source.metadata = NotebookNode(
        jupytext={"formats": "ipynb,py:percent"},
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "pygments_lexer": "ipython3",
        },
    )
    for index, cell in enumerate(source.cells):
        cell["id"] = f"cell-{index:03d}"  # the same in every build
    source.nbformat, source.nbformat_minor = 4, 5

    run = executed(name, source)
    if len(run.cells) != len(source.cells):
        raise BuildError(f"{name}: the run has {len(run.cells)} cells, not {len(source.cells)}")
    count = 0
    for cell, done in zip(source.cells, run.cells, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs = kept_outputs(done.outputs)
        cell.execution_count = done.execution_count
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise BuildError(f"{name}: {cell.id} printed to stderr:\n{output.text}")
        if cell.source.strip():
            count += 1
            if cell.execution_count != count:
                raise BuildError(
                    f"{name}: {cell.id} ran as number {cell.execution_count}, not {count}"
                )

    nbformat.validate(source)
    target = HERE / f"{name}.ipynb"
    part = target.with_suffix(".ipynb.part")
    part.write_text(nbformat.writes(source) + "\n", encoding="utf-8")
    os.replace(part, target)
    print(f"{name}: {count} code cells, {target.stat().st_size / 1000:.0f} kB", flush=True)


def main(arguments: list[str]) -> int:
    paths = sorted([*HERE.glob("[0-9][0-9]_*.py"), *HERE.glob("appendix/*.py")])
    available = {p.stem: p.relative_to(HERE).with_suffix("").as_posix() for p in paths}
    names = [Path(argument).stem for argument in arguments] or list(available)
    if unknown := sorted(set(names) - set(available)):
        print(f"no such notebook: {', '.join(unknown)}; there are {', '.join(available)}")
        return 2
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this Python's kernel before one of the user's
    os.environ.pop("MPLBACKEND", None)  # the kernel's default: inline
    # The models of an earlier build may be those of other code.
    shutil.rmtree(ROOT / "build" / "notebooks" / "runs", ignore_errors=True)
    try:
        for name in names:
            build(available[name])
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
