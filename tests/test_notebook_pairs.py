"""Each notebook is a pair: the .py is the source, the .ipynb the same cells, executed."""

import ast
import io
import tokenize
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = [*NOTEBOOKS.glob("[0-9][0-9]_*"), *NOTEBOOKS.glob("appendix/[A-Z]_*")]
NAMES = sorted(
    {p.relative_to(NOTEBOOKS).with_suffix("").as_posix() for p in PATHS if p.suffix != ".part"}
)

Cell = tuple[str, str, list[str]]


def cells_of(notebook: NotebookNode) -> list[Cell]:
    return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]


def difference(folder: Path, name: str) -> str | None:
    """Describe the first difference between the two files of a pair; None if there is none."""
    script, notebook = folder / f"{name}.py", folder / f"{name}.ipynb"
    for path in (script, notebook):
        if not path.exists():
            return f"{path.name} is missing"
    ours = cells_of(jupytext.read(script))
    theirs = cells_of(nbformat.read(notebook, as_version=4))
    for index, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        for what, a, b in zip(("type", "source", "tags"), left, right, strict=True):
            if a != b:
                return f"cell {index}: its {what} is {a!r} in the .py and {b!r} in the .ipynb"
    if len(ours) != len(theirs):
        return f"{len(ours)} cells in the .py and {len(theirs)} in the .ipynb"
    return None


def parameter_problems(source: str) -> list[str]:
    """List the reasons why `papermill --help-notebook` cannot describe a parameter."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    problems = []
    for statement in ast.parse(source).body:
        text = ast.unparse(statement)
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            problems.append(f"not of the form `name: type = value  # comment`: {text}")
        elif statement.end_lineno not in commented:
            problems.append(f"no trailing comment: {text}")
    return problems


def read(name: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_there_are_notebooks() -> None:
    assert NAMES


def test_pair_is_one_notebook(name: str) -> None:
    found = difference(NOTEBOOKS, name)
    assert found is None, f"{found}\nThe .py is the source: make notebooks ARGS={name}"


def test_the_script_is_written_as_jupytext_writes_it(name: str) -> None:
    """JupyterLab compares the pair as text, and refuses to open it over the order of two tags."""

    def body(text: str) -> str:
        return text.split("# ---\n", 2)[2]

    script = (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8")
    assert body(jupytext.writes(read(name), fmt="py:percent")) == body(script)


def test_notebook_was_executed_from_top_to_bottom(name: str) -> None:
    notebook = read(name)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]


def test_notebook_is_small_enough_to_be_shown(name: str) -> None:
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < 600_000


def test_one_cell_of_parameters_that_explain_themselves(name: str) -> None:
    tagged = [c for c in read(name).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert parameter_problems(tagged[0].source) == []


SCRIPT = """\
# %% [markdown]
# # A notebook

# %% tags=["parameters"]
epochs: int = 1  # passes over the data

# %%
print(epochs)
"""


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "00_pair.py").write_text(SCRIPT)
    nbformat.write(jupytext.read(tmp_path / "00_pair.py"), tmp_path / "00_pair.ipynb")
    return tmp_path


def test_gate_passes_an_equal_pair(pair: Path) -> None:
    assert difference(pair, "00_pair") is None


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ("print(epochs)", "print(epochs + 1)", "cell 2: its source"),
        ("# # A notebook", "# # Another notebook", "cell 0: its source"),
        (' tags=["parameters"]', "", "cell 1: its tags"),
        ("# %% [markdown]", "# %%", "cell 0: its type"),
        ("print(epochs)\n", "print(epochs)\n\n# %%\n1 + 1\n", "4 cells in the .py and 3"),
    ],
)
def test_gate_reports_an_edit(pair: Path, before: str, after: str, reported: str) -> None:
    assert before in SCRIPT
    (pair / "00_pair.py").write_text(SCRIPT.replace(before, after))
    assert reported in (difference(pair, "00_pair") or "no difference")


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_gate_reports_a_lone_half(pair: Path, suffix: str) -> None:
    (pair / f"00_pair{suffix}").unlink()
    assert difference(pair, "00_pair") == f"00_pair{suffix} is missing"


@pytest.mark.parametrize("line", ["epochs = 1  # passes", "epochs: int = 1", "epochs: int  # n"])
def test_gate_reports_a_parameter_without_type_value_or_comment(line: str) -> None:
    assert parameter_problems("seeds: int = 2  # runs\n" + line)
    assert not parameter_problems("seeds: int = 2  # runs\n")
