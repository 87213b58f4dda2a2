"""The committed notebooks run at quick settings and refuse unknown or impossible parameters."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.notebook

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("[0-9][0-9]_*.ipynb"), *FOLDER.glob("appendix/*.ipynb")])
QUICK: dict[str, dict[str, object]] = {
    "00_problem_formalization": {"worlds": 20},
    "02_b2i_routing": {"draws": 100},
    "03_label_aware_attention": {"epochs": 1, "pairs_per_user": 1},
    "04_training_and_serving": {"epochs": 1, "pairs_per_user": 2, "samples": 40},
    "05_experiments": {"dataset": "planted", "epochs": 1},
    "06_deployment": {"visitors": 800, "learners": 300, "tests": 200},
}


def papermill(
    notebook: Path, output: Path, parameters: dict[str, object], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Execute a notebook in a process of its own, where network access is allowed."""
    command = [sys.executable, "-m", "papermill", "-k", "python3", "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    environment = os.environ | {"MINDLIB_OUTPUT": str(output), "JUPYTER_PREFER_ENV_PATH": "1"}
    environment.pop("MPLBACKEND", None)
    return subprocess.run(
        [*command, str(notebook), str(output)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def error_message(run: subprocess.CompletedProcess[str]) -> str:
    """Return the text of the exception, without the traceback."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.stderr)
    (*_, message) = re.split(r"^(?=\w+Error: )", plain, flags=re.M)
    return message


def parameter_names(notebook: Path) -> list[str]:
    (source,) = [
        cell.source
        for cell in nbformat.read(notebook, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    return [ast.unparse(s.target) for s in ast.parse(source).body if isinstance(s, ast.AnnAssign)]


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of the tests: notebooks share trained models."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "notebooks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_writes_its_metrics(notebook: Path, outputs: Path) -> None:
    output = outputs / notebook.name
    run = papermill(notebook, output, QUICK.get(notebook.stem, {}), seconds=900)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "unknown parameter" not in run.stderr
    metrics = json.loads((outputs / f"{notebook.stem}.metrics.json").read_text(encoding="utf-8"))
    found = list(numbers(metrics))
    assert found
    assert all(math.isfinite(number) for number in found)


def refusal(name: str, parameters: dict[str, object], folder: Path) -> str:
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    run = papermill(notebook, folder / notebook.name, parameters, seconds=90)
    assert run.returncode != 0, f"it ran with {parameters}"
    assert not list(folder.glob("*.metrics.json"))
    return error_message(run)


def test_misspelt_parameter_is_refused_with_the_valid_names(tmp_path: Path) -> None:
    message = refusal("05_experiments", {"epoch": 2}, tmp_path)
    valid = parameter_names(ROOT / "notebooks" / "05_experiments.ipynb")
    missing = [word for word in ["epoch", *valid] if not re.search(rf"\b{word}\b", message)]
    assert not missing, f"the message does not name {missing}:\n{message}"


def test_parameter_out_of_range_is_refused_with_its_value(tmp_path: Path) -> None:
    message = refusal("05_experiments", {"epochs": -1}, tmp_path)
    assert re.search(r"\bepochs\b", message), message
    assert "-1" in message, message
