"""The direction of imports: a package imports only from the packages before it.

The order below is the way of the data. The line between `training` and `experiments` separates the
core from what is built on it. Only notebooks import lessons: the shared ones and their own.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ("data", "layers", "retrieval", "models", "evaluation", "training")
ORDER = (*CORE, "experiments", "online", "lessons")
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("mindlib", "notebooks", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def imported_names(source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the parts of each name below `mindlib` that the source imports."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: expected an absolute import"
            names = [f"{node.module}.{name}" for name in names]
        for parts in (name.split(".") for name in names):
            if parts[0] == "mindlib":
                yield node.lineno, parts[1:]


def lesson_of(importer: Path) -> str:
    """Return the lesson package of a notebook or of a module below `mindlib/lessons`."""
    if importer.parts[0] == "mindlib":
        return importer.parts[2].removesuffix(".py")
    if "appendix" in importer.parts:
        return "appendix"
    own = list((ROOT / "mindlib" / "lessons").glob(f"n{importer.name[:2]}_*"))
    return own[0].name if own else ""


def is_allowed(importer: Path, imported: list[str]) -> bool:
    package, lesson = (*imported, "", "")[:2]
    if importer.parts[0] == "benchmarks":
        return package != "lessons"
    if importer.parts[0] == "notebooks":
        return package != "lessons" or lesson in ("common", lesson_of(importer))
    own = importer.parts[1]
    if own == "__init__.py":
        return package in CORE
    if own == package == "lessons":
        return lesson in ("common", lesson_of(importer))
    return package in ORDER[: ORDER.index(own) + 1]


def violations(importer: Path, source: str) -> list[str]:
    return [
        f"{importer}:{line} imports mindlib.{'.'.join(imported)}"
        for line, imported in imported_names(source)
        if not is_allowed(importer, imported)
    ]


def test_every_package_has_a_place_in_the_order() -> None:
    packages = {path.parent.name for path in (ROOT / "mindlib").glob("*/*.py")}
    assert packages == set(ORDER)


def test_imports_follow_the_order() -> None:
    found = [
        violation
        for path in FILES
        for violation in violations(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("importer", "source", "allowed"),
    [
        ("mindlib/models/mind.py", "from mindlib.layers.routing import B2IRouting", True),
        ("mindlib/layers/routing.py", "from mindlib.models import MIND", False),
        ("mindlib/data/splits.py", "import mindlib.training", False),
        ("mindlib/data/splits.py", "def late():\n    from mindlib import online", False),
        ("mindlib/data/splits.py", "from mindlib import MIND", False),
        ("mindlib/__init__.py", "from mindlib.models import MIND", True),
        ("mindlib/__init__.py", "from mindlib.online import export", False),
        ("mindlib/online/export.py", "from mindlib.experiments import trial", True),
        ("mindlib/experiments/trial.py", "from mindlib.online import export", False),
        ("mindlib/online/export.py", "from mindlib.lessons.common import page", False),
        ("mindlib/lessons/common/page.py", "from mindlib.lessons import n01_routing", False),
        ("mindlib/lessons/n01_routing/figures.py", "from mindlib.lessons.common import a", True),
        ("mindlib/lessons/n01_routing/figures.py", "from mindlib.lessons.n02_b2i import a", False),
        ("notebooks/05_experiments.py", "from mindlib.lessons.n05_experiments import a", True),
        ("notebooks/05_experiments.py", "from mindlib.lessons.n06_online import a", False),
        ("notebooks/05_experiments.py", "from mindlib import MIND", True),
        ("notebooks/appendix/A_more.py", "from mindlib.lessons.appendix import a", True),
        ("notebooks/appendix/A_more.py", "from mindlib.lessons.n01_routing import a", False),
        ("benchmarks/bench.py", "from mindlib.lessons.common import style", False),
    ],
)
def test_a_violation_is_seen(importer: str, source: str, allowed: bool) -> None:
    assert (violations(Path(importer), source) == []) is allowed
