"""Search with Milvus (https://milvus.io): Milvus Lite in a .db folder, or a cluster by its URL."""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pymilvus import DataType, MilvusClient, MilvusException
from torch import Tensor

from mindlib.data.option_types import Options
from mindlib.data.tensor_file import TensorFile
from mindlib.retrieval.index import VectorIndex, check_vectors, digest_items
from mindlib.retrieval.scores import Recommendations

# Milvus refuses messages beyond some tens of MB, and more than 16,384 results.
INSERT_BATCH = 10_000
MAX_RESULTS = 16_384
TOKEN = "MILVUS_TOKEN"


@dataclass(frozen=True)
class MilvusConfig(Options):
    """The collection that holds the vectors.

    The credentials of a cluster are read from the environment variable MILVUS_TOKEN
    ("user:password" or an API key) and never stored.

    Attributes:
        uri: a path that ends in .db (Milvus Lite), or the URL of a cluster, "http://…:19530".
        collection: its name; unique by default, because several indexes share a cluster.
    """

    uri: str
    collection: str = field(default_factory=lambda: f"items_{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        super().__post_init__()
        if "@" in self.uri:
            raise ValueError(
                f"the uri of Milvus has credentials: remove them and set {TOKEN} in the environment"
            )
        if not (self.is_embedded or self.uri.startswith(("http://", "https://"))):
            raise ValueError(
                f"uri={self.uri!r}: expected a path that ends in .db (Milvus Lite), or the URL of "
                f"a cluster such as http://localhost:19530"
            )

    @property
    def is_embedded(self) -> bool:
        """Whether the data is in a local folder of Milvus Lite."""
        return self.uri.endswith(".db") and "://" not in self.uri


@dataclass(eq=False)
class MilvusIndex(VectorIndex):
    """An index whose vectors are a collection of Milvus; its file only names the collection.

    Only one process at a time can use an embedded database. One below the folder of the file may
    move with it. Loading fails if the collection does not exist, or has another number of items
    than when it was saved (ValueError). A change of its vectors by others is not detected: only the
    file has a digest, of the vectors that were inserted.

    Raises:
        ConnectionError: Milvus does not answer. `build` and `load_index` raise it too.
    """

    config: MilvusConfig

    def __post_init__(self) -> None:
        config, token = self.config, os.environ.get(TOKEN, "")
        try:
            self.client = MilvusClient(config.uri, token=token)
        except (MilvusException, OSError) as error:
            cause = str(error).replace(token, "…") if token else str(error)
            remedy = (
                "close other processes that use this database, and check that its folder exists"
                if config.is_embedded
                else f"check the address and the credentials in {TOKEN}"
            )
            # The cause's own traceback could show the credentials.
            raise ConnectionError(
                f"uri={config.uri!r}: Milvus does not answer ({cause}); {remedy}"
            ) from None

    @classmethod
    def build(
        cls,
        items: Float[Tensor, "items dim"],
        ids: Int[Tensor, " items"],
        config: MilvusConfig | None = None,
    ) -> MilvusIndex:
        """See `VectorIndex.build`. If it fails, the collection is dropped again.

        Args:
            config: by default, a new collection in mindlib.db in the working directory.

        Raises:
            ValueError: as `VectorIndex.build`, or the collection exists.
        """
        items, ids = check_vectors(items, ids)
        config = config or MilvusConfig("mindlib.db")
        index = cls(ids, items.shape[1], digest_items(items, ids), config)
        client, name = index.client, config.collection
        if client.has_collection(name):
            raise ValueError(
                f"{config.uri} has a collection {name!r}: choose another name, or drop it first "
                f"(MilvusClient(uri).drop_collection({name!r}))"
            )
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=index.dim)
        parameters = client.prepare_index_params()
        parameters.add_index("vector", index_type="FLAT", metric_type="IP")
        try:
            # Strong: a search includes all items that were inserted before it.
            client.create_collection(
                name, schema=schema, index_params=parameters, consistency_level="Strong"
            )
            for start in range(0, len(items), INSERT_BATCH):
                part = slice(start, start + INSERT_BATCH)
                pairs = zip(ids[part].tolist(), items[part].numpy(), strict=True)
                client.insert(name, [{"id": number, "vector": vector} for number, vector in pairs])
        except BaseException:
            index.drop()
            raise
        return index

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        """See `VectorIndex.nearest`. A ValueError refuses an n beyond MAX_RESULTS."""
        if n > MAX_RESULTS:
            raise ValueError(
                f"{n} results for an interest (N and the history): Milvus returns at most "
                f"{MAX_RESULTS}; ask for fewer, or use FaissIndex"
            )
        items = torch.zeros((len(queries), n), dtype=torch.int64)
        scores = torch.full((len(queries), n), -torch.inf)
        results = self.client.search(self.config.collection, list(queries.numpy()), limit=n)
        for row, hits in enumerate(results):
            items[row, : len(hits)] = torch.tensor([hit["id"] for hit in hits]).long()
            scores[row, : len(hits)] = torch.tensor([hit["distance"] for hit in hits])
        return Recommendations(items, scores)

    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        self.client.flush(self.config.collection)
        settings = asdict(self.config)
        if self.config.is_embedded:
            database = Path(self.config.uri).expanduser().resolve()
            is_inside = database.is_relative_to(folder)
            settings["uri"] = str(database.relative_to(folder) if is_inside else database)
        return {}, settings

    @classmethod
    def _restore(cls, content: TensorFile, folder: Path) -> MilvusIndex:
        (tensors, facts), config = content, MilvusConfig(**content.facts["settings"])
        if config.is_embedded:
            config = replace(config, uri=str(folder / config.uri))
            if not Path(config.uri).exists():
                raise ValueError(
                    f"the vectors of the index in {folder} are in {config.uri}, which does not "
                    f"exist; move it there, or build the index again"
                )
        index = cls(tensors["ids"], facts["dim"], facts["source"], config)
        name = config.collection
        if not index.client.has_collection(name):
            raise ValueError(f"{config.uri} has no collection {name!r}: build the index again")
        index.client.load_collection(name)
        (count,) = index.client.query(name, filter="", output_fields=["count(*)"])
        if count["count(*)"] != len(index.ids):
            raise ValueError(
                f"{config.uri}: the collection {name!r} has {count['count(*)']} items; expected "
                f"{len(index.ids)}, as when it was saved; build the index again"
            )
        return index

    def drop(self) -> None:
        """Delete the collection."""
        self.client.drop_collection(self.config.collection)

    def close(self) -> None:
        """Close the connection, and the embedded database for all indexes of this process."""
        self.client.close()
        if self.config.is_embedded:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.config.uri)
