"""The wheel works without the extras: it is built and installed into an empty environment.

That environment has mindlib's own dependencies only, as links to the packages of this one. Nothing
is downloaded, therefore: no dependency, and not setuptools, which torch requires.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_project_files import PROJECT, ROOT

pytestmark = pytest.mark.slow

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")

IMPORT_ALL = """
import importlib, json, pkgutil
import mindlib

missing = {}
for module in pkgutil.walk_packages(mindlib.__path__, "mindlib."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print(json.dumps(missing))
"""

TRAIN = """
import torch
from mindlib import MIND, TrainingConfig, evaluate, fit
from mindlib.data import leave_last_out
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.experiments.results import load_recorded

world = planted_interests(PlantedConfig(num_users=200, num_clusters=8, items_per_cluster=10))
split = leave_last_out(world.log)
model = MIND(split.log, generator=torch.Generator().manual_seed(0))
fit(model, split, TrainingConfig(epochs=1, batch_size=64), device="cpu", progress=False)
assert model.recommend(split.test.histories, n=5).items.shape == (200, 5)
assert load_recorded("experiments-journey")["rows"]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, because setuptools writes beside the sources
    shutil.copytree(ROOT / "mindlib", source / "mindlib", ignore=shutil.ignore_patterns("__py*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Return the Python of an environment with the wheel and without the extras."""
    home = wheel.parent / "venv"
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for distribution in own_dependencies():
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file.parts[0])))
            if file.parts[0] not in ("..", "__pycache__") and not (packages / source.name).exists():
                (packages / source.name).symlink_to(source)
    python = home / "bin" / "python"
    # It also checks that the dependencies of the wheel are there, in the versions that it asks for.
    run(*PIP, "--python", str(python), "install", "--no-index", str(wheel))
    return python


def own_dependencies() -> list[importlib.metadata.Distribution]:
    """Return the distributions that mindlib depends on without its extras, directly or not."""
    found: dict[tuple[str, str], importlib.metadata.Distribution] = {}
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    while asked:
        requirement = asked.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key in found:
                continue
            found[key] = importlib.metadata.distribution(requirement.name)
            lines = map(Requirement, found[key].requires or ())
            asked += [r for r in lines if not r.marker or r.marker.evaluate({"extra": extra})]
    return list(found.values())


def run(*command: str) -> str:
    """Run a command outside of this folder, and without its packages."""
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=Path(command[0]).parent, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_has_the_recorded_results_and_the_lessons_of_the_notebooks(wheel: Path):
    """A notebook needs no clone: its lessons are installed with the library."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mindlib").rglob("*")
        if path.suffix in (".py", ".json", ".typed") and not path.name.startswith(".")
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == package
    assert wheel.name.startswith(f"mindlib-{PROJECT['version']}-py3-")


def test_without_the_extras_all_is_imported_that_needs_none(python: Path):
    names = {
        canonicalize_name(Requirement(line).name)
        for lines in PROJECT["optional-dependencies"].values()
        for line in lines
    }
    modules = importlib.metadata.packages_distributions()
    missing = json.loads(run(str(python), "-c", IMPORT_ALL))
    needed = {canonicalize_name(d) for module in missing.values() for d in modules[module]}
    assert "mindlib.retrieval.faiss" in missing, "control: an extra is installed"
    assert needed <= names, missing


def test_without_the_extras_a_model_is_trained_and_recommends(python: Path):
    run(str(python), "-c", TRAIN)
