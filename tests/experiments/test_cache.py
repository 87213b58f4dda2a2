"""Runs are the same only if everything that decides them is; damaged files are not used."""

import dataclasses
import json
import math
import re
import subprocess
import warnings

import pytest
import torch

from mindlib.data.tensor_file import TensorFile, write_tensors
from mindlib.experiments import cache
from mindlib.experiments.cache import FORM, code_version, describe_config, read_entry
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MINDConfig
from tests.reliability import behaves


def test_a_configuration_in_json_has_every_field_of_every_dataclass_in_it():
    config = MINDConfig(dim=8, power=math.inf, routing=RoutingConfig(max_interests=3))
    found = describe_config(config)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["class"] == "MINDConfig"  # without its module
    assert found["power"] == "inf"
    names = {field.name for field in dataclasses.fields(RoutingConfig)}
    assert set(found["routing"]) == names | {"class"}
    assert found["routing"]["max_interests"] == 3


def test_a_value_without_a_lasting_representation_is_refused():
    with pytest.raises(TypeError, match="is a function: a run's configuration may hold"):
        describe_config({"build": lambda: None})


def test_the_version_is_the_commit_of_a_checkout_or_else_the_packages(monkeypatch):
    code_version.cache_clear()
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|\d+\.\d+.*", code_version())

    def no_git(*args, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    code_version.cache_clear()
    assert code_version() == cache.version("mindlib")
    code_version.cache_clear()


ENTRY = TensorFile(
    {"a": torch.arange(2000.0).double(), "b": torch.zeros(0, 3)}, {"name": "x", "of": [1, 2.5]}
)


def test_a_file_is_read_as_it_was_written_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "values"
    write_tensors(path, FORM, ENTRY)
    found = read_entry(path)
    assert found is not None
    assert found.facts == found.facts | ENTRY.facts
    assert found.tensors.keys() == ENTRY.tensors.keys()
    for key, value in ENTRY.tensors.items():
        assert torch.equal(found.tensors[key], value)
    assert list(tmp_path.iterdir()) == [path]
    assert read_entry(tmp_path / "absent") is None


@pytest.mark.parametrize("how", ["half", "empty", "one bit", "zeros"])
def test_a_damaged_file_is_not_used(tmp_path, how):
    path = tmp_path / "values"
    write_tensors(path, FORM, ENTRY)
    content = path.read_bytes()
    half, third = len(content) // 2, len(content) // 3
    flipped = content[:third] + bytes([content[third] ^ 1]) + content[third + 1 :]
    zeros = content[:half] + bytes(5) + content[half + 5 :]
    damaged = {"half": content[:half], "empty": b"", "one bit": flipped, "zeros": zeros}
    path.write_bytes(damaged[how])
    with pytest.warns(UserWarning, match="values is damaged .*computed again"):
        assert read_entry(path) is None
    behaves(
        "Index, model and version files", "a damaged file in the cache of runs",
        "a warning names the file, and the run is computed again",
    )  # fmt: skip


def test_any_flipped_bit_is_reported_or_changes_nothing(tmp_path):
    path = tmp_path / "values"
    entry = TensorFile({"a": torch.arange(3.0)}, {"name": "x"})
    write_tensors(path, FORM, entry)
    content, reported = path.read_bytes(), 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = read_entry(path)
        reported += found is None
        assert len(caught) == (found is None)
        if found:
            assert found.facts == found.facts | entry.facts
            assert found.tensors.keys() == entry.tensors.keys()
            assert torch.equal(found.tensors["a"], entry.tensors["a"])
    assert reported > len(content) / 2
