import dataclasses
import os

import pytest
import torch
from hypothesis import settings

settings.register_profile(
    "mindlib", deadline=None, max_examples=50, derandomize=os.environ.get("CI") == "true"
)
settings.load_profile("mindlib")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def unchecked(config: type, **options: object) -> None:
    """Run a configuration's own validation as it runs without pytest's type checks before it."""
    instance = object.__new__(config)
    for field in dataclasses.fields(config):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        object.__setattr__(instance, field.name, options.get(field.name, default))
    instance.__post_init__()
