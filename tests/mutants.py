"""A mutant: one rule of the library broken on purpose, and the tests that must then fail."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One rule broken.

    Attributes:
        rule: what the mutant does wrong.
        module: the file of the package.
        find: the source to replace; stands in the file exactly once.
        replacement: the wrong source.
        killers: the tests that must all fail, below tests/.
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
        assert found == 1, f"{self.module} has {found} times, instead of once: {self.find!r}"
        path.write_text(source.replace(self.find, self.replacement), encoding="utf-8")


def mutant(rule: str, module: str, find: str, replacement: str, *killers: str) -> Mutant:
    return Mutant(rule, module, find, replacement, killers)
