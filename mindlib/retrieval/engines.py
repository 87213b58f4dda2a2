"""Choose the engine of an index by a short text: "exact", "faiss" or "milvus:ADDRESS".

ADDRESS is the URL of a Milvus cluster, http(s)://HOST:PORT, or a path that ends in .db, which
becomes an embedded Milvus Lite database. A relative path starts at the folder of the index file, so
that the folder can be moved. Credentials are read from the environment variable MILVUS_TOKEN.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.tensor_file import read_tensors
from mindlib.retrieval.index import FORMAT, VectorIndex, digest_items

# A text as above, or a function for the other settings of an engine, such as `FaissIndex.build`.
Engine = str | Callable[[Float[Tensor, "items dim"], Int[Tensor, " items"]], VectorIndex]

CLASSES = {"exact": "ExactIndex", "faiss": "FaissIndex", "milvus": "MilvusIndex"}
REMEDY = "build it again and save it"


def check_engine(engine: str) -> None:
    """Check the text that names an engine, and that its packages are installed.

    Raises:
        ImportError: a package is not installed.
        ValueError: there is no such engine, or the address is invalid.
    """
    name, colon, address = engine.partition(":")
    if name not in CLASSES or bool(colon) != (name == "milvus"):
        raise ValueError(
            f'index={engine!r}: expected "exact", "faiss" or "milvus:ADDRESS" with an address such '
            f"as items.db or http://localhost:19530"
        )
    module = _import(name)
    if name == "milvus":
        module.MilvusConfig(address)


def write_index(
    path: Path, engine: Engine, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]
) -> None:
    """Build an index and save it.

    Raises:
        ImportError, ValueError: as `check_engine` and `VectorIndex.build`; or the path of an
            embedded database exists.
        OSError: the file cannot be written, or Milvus does not answer (ConnectionError).
    """
    build: Any = engine
    name = address = ""
    if isinstance(engine, str):
        check_engine(engine)
        name, _, address = engine.partition(":")
        build = getattr(_import(name), CLASSES[name]).build
    if name != "milvus":
        build(items, ids).save(path)
        return
    if not address.startswith("http"):
        address = str(path.parent / Path(address).expanduser())
        if Path(address).exists():
            raise ValueError(f"{address} exists: choose another path for the embedded database")
    with closing(build(items, ids, _import(name).MilvusConfig(address))) as index:
        try:
            index.save(path)
        except BaseException:
            index.drop()
            raise


def load_index(
    path: str | Path,
    *,
    built_from: tuple[Float[Tensor, "items dim"], Int[Tensor, " items"]] | None = None,
) -> VectorIndex:
    """Read an index that `VectorIndex.save` wrote, with the engine that wrote it.

    Args:
        built_from: the vectors and ids (in any order) that it must have been built from, such as
            `catalogue(model)`. Vectors that a model computes on another device may differ in their
            last bit, and are other vectors.

    Raises:
        ConnectionError: Milvus does not answer.
        FileNotFoundError: there is no such file.
        ImportError: a package of the engine is not installed.
        ValueError: the file is damaged, has another format or an unknown engine, or the index was
            built from other vectors or ids.
    """
    path = Path(path).expanduser().resolve()
    content = read_tensors(path, FORMAT, REMEDY)
    engine, facts = content.facts["engine"], content.facts
    if built_from and digest_items(*built_from) != facts["source"]:
        raise ValueError(
            f"{path} was built from other item vectors than those of the model "
            f"({len(content.tensors['ids'])} items, dimension {facts['dim']}); {REMEDY}"
        )
    if engine not in CLASSES.values():
        expected = " or ".join(map(repr, CLASSES.values()))
        raise ValueError(f"{path}: the engine is {engine!r}; expected {expected}; {REMEDY}")
    (name,) = (name for name, cls in CLASSES.items() if cls == engine)
    return getattr(_import(name), engine)._restore(content, path.parent)


def _import(name: str) -> Any:
    """Import the module of an engine; the packages of Faiss and Milvus are optional."""
    try:
        return importlib.import_module(f"mindlib.retrieval.{name}")
    except ImportError as error:
        extra = "milvus" if name == "milvus" else "serving"
        raise ImportError(
            f"the engine {name!r} needs {error.name}: pip install 'mindlib[{extra}]'"
        ) from error
