"""List the definitions of the core, `experiments` and `online` that only tests reach.

    python tests/reached_only_by_tests.py

A definition is a function, a class, a method, a constant, or a field of a dataclass. It is reached
if live code names it: lessons, notebooks, benchmarks, the code in README.md and docs/, the top
level of modules, and the bodies of reached definitions. Imports and `__all__` do not count, nor do
keyword arguments: a field must be read. Only names are compared, so an unused name that equals a
used one elsewhere is not listed.
"""

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKED = {"data", "layers", "retrieval", "models", "evaluation", "training"}
CHECKED |= {"experiments", "online"}
# Members that a library uses, besides those with two underscores.
USED_BY_A_LIBRARY = {
    "forward": "torch.nn.Module and torch.autograd.Function",
    "backward": "torch.autograd.Function",
    "extra_repr": "torch.nn.Module",
    "model_config": "pydantic.BaseModel",
    "connection_made": "uvicorn's H11Protocol",
    "connection_lost": "uvicorn's H11Protocol",
    "on_response_complete": "uvicorn's H11Protocol",
}


@dataclass
class Definition:
    """A definition with what its body uses; a module is a definition that is always reached."""

    name: str
    path: Path
    line: int = 0
    parent: "Definition | None" = None
    is_member: bool = False
    is_reached: bool = False
    names: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    children: list["Definition"] = field(default_factory=list)

    def add(self, name: str, line: int, is_member: bool) -> "Definition":
        self.children.append(Definition(name, self.path, line, self, is_member))
        return self.children[-1]

    def __str__(self) -> str:
        owner = f"{self.parent.name}." if self.parent and self.parent.name else ""
        return f"{self.path}:{self.line} {owner}{self.name}"


def collect(parent: ast.AST, owner: Definition) -> None:
    """Add the definitions and the uses below a node to their owner."""
    in_class, in_module = isinstance(parent, ast.ClassDef), isinstance(parent, ast.Module)
    for node in ast.iter_child_nodes(parent):
        match node:
            case ast.Expr(ast.Constant()):
                pass  # a docstring
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for decorator in node.decorator_list:
                    collect(ast.Expr(decorator), owner)
                    # A call of a method registers the function, as in @app.get("/health").
                    if isinstance(decorator, ast.Call) and isinstance(
                        decorator.func, ast.Attribute
                    ):
                        owner.names.add(node.name)
                node.decorator_list = []
                collect(node, owner.add(node.name, node.lineno, in_class))
            case ast.Assign([ast.Name("__all__")]):
                pass
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)) if (
                in_class or in_module
            ):
                owner.add(name, node.lineno, in_class)
                collect(node, owner)
            case ast.Name(name, ast.Load()) | ast.alias(name, str()):
                owner.names.add(name)
            case ast.Attribute(value, name, context):
                if isinstance(context, ast.Load):
                    owner.attributes.add(name)
                collect(ast.Expr(value), owner)
            case ast.Constant(str(text)) if re.fullmatch(r"[\w.\[\],|]+", text):
                # A quoted annotation, or a name for getattr.
                owner.names.update(re.findall(r"\w+", text))
                owner.attributes.update(re.findall(r"\w+", text))
            case _:
                collect(node, owner)


def read_module(path: Path, source: str) -> Definition:
    module = Definition("", path, is_reached=True)
    collect(ast.parse(source), module)
    return module


def words_of_code(page: str) -> set[str]:
    """Return the words in the code of a Markdown page."""
    code = re.findall(r"```.*?```|`[^`]+`", page, re.S)
    return set(re.findall(r"\w+", " ".join(code)))


def unreached(modules: Iterable[Definition], words: set[str]) -> list[Definition]:
    """Return the definitions that neither live code nor the words name."""
    everything = [*modules]
    for definition in everything:
        everything += definition.children
    names, attributes = set(words), set(words)
    new = [definition for definition in everything if definition.is_reached]
    while new:
        for definition in new:
            names |= definition.names | definition.attributes
            attributes |= definition.attributes
        new = [
            d
            for d in everything
            if not d.is_reached
            and d.parent
            and d.parent.is_reached
            and (
                d.name in (attributes if d.is_member else names)
                or d.name in USED_BY_A_LIBRARY
                or d.name.startswith("__")
            )
        ]
        for definition in new:
            definition.is_reached = True
    return [d for d in everything if not d.is_reached and d.parent and d.parent.is_reached]


def main() -> int:
    modules = [
        read_module(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
        for folder in ("mindlib", "notebooks", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    words = {word for page in pages for word in words_of_code(page.read_text(encoding="utf-8"))}
    found = [d for d in unreached(modules, words) if d.path.parts[1] in CHECKED]
    print("\n".join(map(str, found)))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
