"""An index as one file: its tensors, and facts that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from mindlib.data.tensor_file import TensorFile, read_tensors, write_tensors

FORMAT = "mindlib index 4"
REMEDY = "build it again and save it"


@dataclass(frozen=True)
class IndexContents:
    """The contents of an index file.

    Attributes:
        engine: the name of the index's class.
        source, dim, ids: as `VectorIndex`; the ids are in the order of the engine.
        tensors, settings: the engine's state; JSON can represent the settings.
    """

    engine: str
    source: str
    dim: int
    ids: Int[Tensor, " items"]
    tensors: dict[str, Tensor]
    settings: dict[str, Any]


def write(path: Path, contents: IndexContents) -> None:
    """Write an index file, completely or not at all. An OSError reports the latter."""
    facts = {name: getattr(contents, name) for name in ("engine", "source", "dim", "settings")}
    write_tensors(path, FORMAT, TensorFile({"ids": contents.ids, **contents.tensors}, facts))


def read(path: Path, engines: tuple[str, ...], source: str | None) -> IndexContents:
    """Read an index file of one of these engines, with the refusals of `VectorIndex.load`."""
    tensors, facts = read_tensors(path, FORMAT, REMEDY)
    contents = IndexContents(
        facts["engine"], facts["source"], facts["dim"], tensors.pop("ids"), tensors,
        facts["settings"],
    )  # fmt: skip
    if source not in (None, contents.source):
        raise ValueError(
            f"{path} was built from other item vectors than those of the model "
            f"({len(contents.ids)} items, dimension {contents.dim}); {REMEDY}"
        )
    if contents.engine not in engines:
        expected = " or ".join(map(repr, engines))
        raise ValueError(
            f"{path}: the engine is {contents.engine!r}; expected {expected}; {REMEDY}"
        )
    return contents
