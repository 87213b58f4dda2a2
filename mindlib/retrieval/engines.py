"""Choose the engine of an index by a short text: "exact", "faiss" or "milvus:ADDRESS".

ADDRESS is the URL of a Milvus cluster, http(s)://HOST:PORT, or a path that ends in .db, which
becomes an embedded Milvus Lite database. A relative path starts at the folder of the index file, so
that the folder can be moved. Credentials are read from the environment variable MILVUS_TOKEN.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval import files
from mindlib.retrieval.index import VectorIndex

# A text as above, or a function for the other settings of an engine.
Engine = str | Callable[[Float[Tensor, "items dim"], Int[Tensor, " items"]], VectorIndex]

MODULES = {"ExactIndex": "exact", "FaissIndex": "faiss", "MilvusIndex": "milvus"}


def check_engine(engine: str) -> None:
    """Check the text that names an engine, and that its packages are installed.

    Raises:
        ImportError: a package is not installed.
        ValueError: there is no such engine, or the address is invalid.
    """
    if engine.startswith("milvus:"):
        _module("MilvusIndex").MilvusConfig(engine.removeprefix("milvus:"))
    elif engine == "faiss":
        _module("FaissIndex")
    elif engine != "exact":
        raise ValueError(
            f'index={engine!r}: expected "exact", "faiss" or "milvus:ADDRESS" with an address such '
            f"as items.db or http://localhost:19530"
        )


def write_index(
    path: Path, engine: Engine, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]
) -> None:
    """Build an index and save it.

    Args:
        path: the index file.
        engine: the engine's text, or a function such as `FaissIndex.build`.
        items, ids: as `VectorIndex.build`.

    Raises:
        ConnectionError: Milvus does not answer.
        ImportError, ValueError: as `check_engine` and `VectorIndex.build`; or the path of an
            embedded database exists.
        OSError: the file cannot be written.
    """
    if not isinstance(engine, str):
        engine(items, ids).save(path)
        return
    check_engine(engine)
    if engine.startswith("milvus:"):
        _write_milvus(path, engine.removeprefix("milvus:"), items, ids)
    else:
        name = "FaissIndex" if engine == "faiss" else "ExactIndex"
        getattr(_module(name), name).build(items, ids).save(path)


def _write_milvus(
    path: Path, address: str, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]
) -> None:
    milvus = _module("MilvusIndex")
    # The collections of several indexes share a cluster, hence a unique name.
    config = milvus.MilvusConfig(address, f"items_{uuid.uuid4().hex}")
    if config.is_embedded:
        database = path.parent / Path(address).expanduser()
        if database.exists():
            raise ValueError(f"{database} exists: choose another path for the embedded database")
        config = milvus.MilvusConfig(str(database), config.collection)
    index = milvus.MilvusIndex.build(items, ids, config)
    try:
        index.save(path)
    except BaseException:
        index.drop()
        raise
    finally:
        index.close()


def load_index(
    path: Path, *, dim: int | None = None, ids: Int[Tensor, " items"] | None = None
) -> VectorIndex:
    """Load an index with the engine that wrote it; the arguments are those of `VectorIndex.load`.

    Raises:
        ConnectionError: Milvus does not answer.
        FileNotFoundError, ValueError: as `VectorIndex.load`.
        ImportError: a package of the engine is not installed.
    """
    name = files.read_engine(path)
    if name not in MODULES:
        raise ValueError(
            f"{path}: the engine is {name!r}; expected one of {', '.join(MODULES)}; {files.REMEDY}"
        )
    return getattr(_module(name), name).load(path, dim=dim, ids=ids)


def _module(name: str) -> Any:
    """Import the module of an index class; Faiss and Milvus are optional packages."""
    try:
        return importlib.import_module(f"mindlib.retrieval.{MODULES[name]}")
    except ImportError as error:
        extra = "milvus" if name == "MilvusIndex" else "serving"
        raise ImportError(
            f"{name} needs {error.name}: pip install 'mindlib[{extra}]'", name=error.name
        ) from error
