import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes would wait for one another
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start

# The number of examples: few while editing, more in `make test` (--hypothesis-profile=full).
IS_CI = os.environ.get("CI") == "true"
settings.register_profile("quick", deadline=None, max_examples=15, derandomize=IS_CI)
settings.register_profile("full", deadline=None, max_examples=50, derandomize=IS_CI)
settings.register_profile("fuzz", deadline=None, max_examples=100)  # a round of tests/fuzz
settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the import of modules whose first mark (pytestmark) the option -m excludes."""
    if collection_path.suffix == ".py":
        source = collection_path.read_text(encoding="utf-8")
        mark = re.search(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", source, re.M)
        if mark and f"not {mark[1]}" in config.option.markexpr:
            return True
    return None


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def unchecked(config: type, /, **options: object) -> Any:
    """Run a configuration's own validation without the type checks that precede it in tests."""
    instance = object.__new__(config)
    for field in dataclasses.fields(config):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        object.__setattr__(instance, field.name, options.get(field.name, default))
    instance.__post_init__()
    return instance
