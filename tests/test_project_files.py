"""The project's own files agree with each other."""

import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import mindlib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT: dict[str, Requirement] = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(
        Requirement,
        PROJECT["dependencies"]
        + [
            line
            for extra, lines in PROJECT["optional-dependencies"].items()
            if extra != "site"  # has versions and an environment of its own
            for line in lines
        ],
    )
}


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pins() -> dict[str, str]:
    pairs = (line.split("==") for line in constraints() if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def test_conda_installs_exactly_what_pip_does() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    (python,) = [d for d in dependencies if isinstance(d, str) and d.startswith("python=")]
    (pip_section,) = [d["pip"] for d in dependencies if isinstance(d, dict)]
    assert [d for d in dependencies if isinstance(d, str) and d != python] == ["pip"]
    assert sorted(pip_section) == ["-c constraints.txt", "-e .[dev]"]
    version = python.removeprefix("python=").strip("=").replace(".*", ".99")
    assert version in SpecifierSet(PROJECT["requires-python"])


def test_constraints_are_exact_portable_pins() -> None:
    bad = [line for line in constraints() if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not bad, f"not of the form name==version (no local version, no address): {bad}"


def test_constraints_leave_the_torch_build_to_the_machine() -> None:
    builds = [n for n in pins() if n in {"torch", "triton", "mindlib"} or n.startswith("nvidia-")]
    assert not builds


def checked_pins(name: str) -> dict[str, str]:
    """Read a list of exact versions, each of which has at least one checksum."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for _, *hs in lines for h in hs)
    assert all(len(line) > 1 for line in lines)
    pairs = (line[0].split("==") for line in lines)
    return {canonicalize_name(package): version for package, version in pairs}


def test_requirements_are_the_constraints_with_checksums() -> None:
    assert checked_pins("requirements.txt") == pins()


def test_the_packages_of_the_site_are_pinned_within_their_ranges() -> None:
    pinned = checked_pins("docs/requirements.txt")
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["site"]):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("name", sorted(set(DIRECT) - {"torch"}))
def test_direct_dependency_is_pinned_within_its_range(name: str) -> None:
    assert name in pins(), f"constraints.txt has no {name}"
    assert pins()[name] in DIRECT[name].specifier


def test_the_files_name_one_version_and_its_date() -> None:
    version = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mindlib.__version__ == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}] - {citation['date-released']}\n" in changelog


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"]
)


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, ".ci/run"])
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", read_page("Makefile"), re.M)
    # at the start of a line of code, or of an inline `code`
    named = set(re.findall(r"(?:^[ \t]*\$?[ \t]*|`)make ([a-z-]+)\b", read_page(page), re.M))
    assert named or page not in ("README.md", ".ci/run"), f"{page} names no target"
    assert named <= set(targets), f"no such target: {sorted(named - set(targets))}"


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 7000


def test_the_library_and_its_modules_are_short() -> None:
    lines = {
        p: len(p.read_text(encoding="utf-8").splitlines()) for p in ROOT.glob("mindlib/**/*.py")
    }
    assert [path for path, n in lines.items() if n > 300] == []
    assert sum(lines.values()) <= 18_000


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_point_to_what_exists(page: str) -> None:
    links = re.findall(r"\]\(\s*(?![a-z]+://)([^)\s]+)\)", read_page(page))
    missing = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists():
            missing.append(link)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
            missing += [] if anchor in anchors else [link]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_library_exist(page: str) -> None:
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", read_page(page), re.S))
    missing = []
    for name in sorted(set(re.findall(r"\bmindlib(?:\.\w+)+", code))):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert not missing
