"""Break each rule in a copy of the package, and require the tests that it names to fail.

Each mutant is a wrong reading of the paper, or a mistake that public code makes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.data.mutants import MUTANTS as DATA
from tests.evaluation.mutants import MUTANTS as EVALUATION
from tests.layers.mutants import MUTANTS as LAYERS
from tests.models.mutants import MUTANTS as MODELS
from tests.mutants import Mutant
from tests.retrieval.mutants import MUTANTS as RETRIEVAL
from tests.training.mutants import MUTANTS as TRAINING

ROOT = Path(__file__).resolve().parent.parent

MUTANTS = [*DATA, *LAYERS, *MODELS, *TRAINING, *RETRIEVAL, *EVALUATION]

# A pytest plugin, written into the folder of the mutant, that records what failed.
WITNESS = """
import json
import pathlib
import sys

from hypothesis import Phase, settings

failed = {}


def pytest_configure():
    # The first failing example is enough: neither shrink it nor search for a second failure.
    settings.register_profile(
        "mutants",
        settings.get_profile("full"),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    settings.load_profile("mutants")


def pytest_exception_interact(node, call, report):
    if report.when == "call":
        failed[report.nodeid] = call.excinfo.typename


def pytest_sessionfinish():
    package = sys.modules.get("mindlib")
    facts = {"package": package and package.__file__, "failed": failed}
    pathlib.Path("facts.json").write_text(json.dumps(facts), encoding="utf-8")
"""


# Most of the time of a run of pytest is spent on imports. Those that are the same for every mutant
# (all but mindlib) are done once, before the fork.
HOST = """
import json
import os
import signal
import sys

import beartype
import hypothesis
import polars
import pytest
import scipy.stats
import torch

for line in sys.stdin:
    folder, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        os.chdir(folder)
        sys.path.insert(0, folder)  # before the installed package
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = pytest.main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Host:
    """A process that runs pytest many times, each time in a fork of its unchanged state."""

    def __init__(self, folder: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        # One thread, because a process with several cannot be forked safely. CI=true makes
        # hypothesis deterministic.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CI": "true"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, node_ids: Sequence[str]) -> tuple[int, dict[str, Any], str]:
        """Run tests in `folder`; return the exit code, the plugin's record and the output."""
        (folder / "witness.py").write_text(WITNESS, encoding="utf-8")
        # Plain assertions, because the explanation of a difference can take a minute.
        options = [
            "-q",
            "-n0",
            "-m",
            "",
            "--assert=plain",
            "-p",
            "no:cacheprovider",
            "-p",
            "witness",
        ]
        arguments = [*options, *(f"tests/{node_id}" for node_id in node_ids)]
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(folder), arguments]) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        output = (folder / "output.txt").read_text(encoding="utf-8")
        facts = folder / "facts.json"
        assert facts.exists(), f"exit code {code}\n{output}"
        return code, json.loads(facts.read_text(encoding="utf-8")), output

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package, its tests and their settings."""
    for name in ("mindlib", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_each_mutant_changes_source_that_exists_and_has_a_unique_rule(folder: Path):
    originals = {m.module: (folder / "mindlib" / m.module).read_bytes() for m in MUTANTS}
    for m in MUTANTS:
        m.mutate(folder / "mindlib")
        path = folder / "mindlib" / m.module
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
        path.write_bytes(originals[m.module])
    assert len({m.rule for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.mutants
def test_the_copy_without_a_mutant_passes(folder: Path, host: Host):
    """Control: the failures below come from the mutant, not from the copy."""
    killers = list(dict.fromkeys(killer for m in MUTANTS for killer in m.killers))
    code, facts, output = host.run(folder, killers)
    assert code == pytest.ExitCode.OK, output
    assert facts["failed"] == {}
    assert facts["package"] == str(folder / "mindlib" / "__init__.py")


@pytest.mark.mutants
@pytest.mark.parametrize("m", MUTANTS, ids=lambda m: m.rule.replace(" ", "-"))
def test_the_named_tests_fail(m: Mutant, folder: Path, host: Host):
    m.mutate(folder / "mindlib")
    code, facts, output = host.run(folder, m.killers)
    assert facts["package"] == str(folder / "mindlib" / "__init__.py"), "another mindlib was tested"
    assert code != pytest.ExitCode.OK, f"no named test fails for the mutant {m.rule!r}\n{output}"
    assert code == pytest.ExitCode.TESTS_FAILED, output
    # Without parameters: one failing case of a test is enough.
    failed = {node_id.partition("[")[0]: kind for node_id, kind in facts["failed"].items()}
    assert set(failed) == {f"tests/{killer}" for killer in m.killers}, output
    # A wrong result, not a crash, which would show nothing about the rule.
    assert set(failed.values()) <= {"AssertionError", "Failed"}, output
