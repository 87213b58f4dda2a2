"""A mutant: a change of the source that breaks one rule, and the tests that must fail then."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """A change of the source that breaks one rule.

    Attributes:
        rule: the name of the mistake.
        module: the file, relative to the package.
        find: the source to replace; it occurs in the file exactly once.
        replacement: the wrong source.
        killers: node ids of the tests that must all fail, relative to tests/.
    """

    rule: str
    module: str
    find: str
    replacement: str
    killers: tuple[str, ...]

    def mutate(self, package: Path) -> None:
        path = package / self.module
        source = path.read_text(encoding="utf-8")
        found = source.count(self.find)
        assert found == 1, f"{self.module} has {found} times, expected once: {self.find!r}"
        path.write_text(source.replace(self.find, self.replacement), encoding="utf-8")


def mutant(rule: str, module: str, find: str, replacement: str, *killers: str) -> Mutant:
    return Mutant(rule, module, find, replacement, killers)
