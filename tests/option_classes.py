"""All configuration classes of mindlib, found by importing every module."""

import importlib
import pkgutil
from typing import Any

import mindlib

# Classes of options whose name does not end with "Config".
OTHERS = {"Experiment", "PlantedRanker", "Timeouts", "Trial"}


def option_classes() -> dict[str, Any]:
    """Return every dataclass of options below mindlib, which checks itself, by its name."""
    found = {}
    for module in pkgutil.walk_packages(mindlib.__path__, "mindlib."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                is_options = isinstance(value, type) and (name.endswith("Config") or name in OTHERS)
                if is_options and hasattr(value, "__post_init__"):
                    found[value.__name__] = value
    return dict(sorted(found.items()))
