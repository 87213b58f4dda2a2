"""The list of definitions that only tests reach."""

from pathlib import Path

import pytest

from tests.reached_only_by_tests import read_module, unreached, words_of_code

LIBRARY = '''
__all__ = ["lonely"]

def called(): return helper()
def helper(): ...
def lonely(): return only_by_lonely()
def only_by_lonely(): ...
def recursive(): recursive()

@app.get("/health")
def registered(): ...

@dataclass
class Config:
    """Attributes: unread."""
    read: int = 0
    unread: int = 0

    def __len__(self): return self.read
    def method(self): ...
'''
PROGRAM = """
from library import lonely
called()
Config(read=1, unread=2)
method = 1
method
"""


UNREACHED = {"lonely", "only_by_lonely", "recursive", "unread", "method"}


@pytest.mark.parametrize(
    ("page", "named"),
    [
        ("", set()),
        ("lonely, recursive", set()),
        ("`lonely()` and `Config.method`", {"lonely", "only_by_lonely", "method"}),
    ],
)
def test_lists_what_neither_live_code_nor_a_page_names(page: str, named: set[str]) -> None:
    modules = [read_module(Path(), source) for source in (LIBRARY, PROGRAM)]
    found = {definition.name for definition in unreached(modules, words_of_code(page))}
    assert found == UNREACHED - named
