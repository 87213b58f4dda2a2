"""Search in Milvus (https://milvus.io): Milvus Lite in a folder, or a cluster by its address."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pymilvus import DataType, MilvusClient, MilvusException
from torch import Tensor

from mindlib.retrieval import files
from mindlib.retrieval.index import check_items, check_known
from mindlib.retrieval.scores import Recommendations

# Milvus refuses messages beyond some tens of MB, and more than 16,384 results or queries.
ITEMS_AT_ONCE = 10_000
QUERIES_AT_ONCE = 1_000
MOST_RESULTS = 16_384


@dataclass(frozen=True)
class MilvusConfig:
    """Where the vectors live, and how Milvus searches them.

    Attributes:
        uri: a path that ends in .db (Milvus Lite), or the address of a cluster, "http://…:19530".
        collection: the name of the collection in it.
        index_type: "FLAT" (exact), "HNSW", "IVF_FLAT", …
        build_parameters, search_parameters: of this type, as Milvus names them.
        token: "user:password" or an API key; never saved.
    """

    uri: str
    collection: str = "items"
    index_type: str = "FLAT"
    build_parameters: dict[str, Any] = field(default_factory=dict)
    search_parameters: dict[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not (self.uri.endswith(".db") or "://" in self.uri):
            raise ValueError(
                f"uri={self.uri!r}: expected a path that ends in .db (Milvus Lite), or the address "
                f"of a cluster such as http://localhost:19530"
            )


class MilvusIndex:
    """A `VectorIndex` that is a collection of Milvus.

    The vectors stay where `config` says; `save` writes a file that says which they are.

    Args:
        config: where the collection is.
        dim: d.
        ids: what it holds.
    """

    def __init__(self, config: MilvusConfig, dim: int, ids: Int[Tensor, " items"]) -> None:
        self.config = config
        self.dim = dim
        self.ids = ids
        self.client = _connect(config)

    @classmethod
    def build(
        cls,
        items: Float[Tensor, "items dim"],
        ids: Int[Tensor, " items"],
        config: MilvusConfig | None = None,
    ) -> MilvusIndex:
        """See `VectorIndex.build`. If it fails, the collection is dropped again.

        Args:
            config: mindlib.db in the working directory, if it is not given.

        Raises:
            ValueError: as `VectorIndex.build`; or the collection exists.
            ConnectionError: Milvus does not answer at this address.
        """
        items, ids = check_items(items, ids)
        config = config or MilvusConfig("mindlib.db")
        index = cls(config, items.shape[1], ids[:0])
        client, name = index.client, config.collection
        if client.has_collection(name):
            raise ValueError(
                f"{config.uri} has a collection {name!r}: choose another name, or drop it first "
                f"(MilvusClient(uri).drop_collection({name!r}))"
            )
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=index.dim)
        how = client.prepare_index_params()
        how.add_index(
            "vector",
            index_type=config.index_type,
            metric_type="IP",
            params=config.build_parameters,
        )
        try:
            # Strong: a search sees what was added or removed before it.
            client.create_collection(
                name, schema=schema, index_params=how, consistency_level="Strong"
            )
            index.add(items, ids)
        except BaseException:
            client.drop_collection(name)
            raise
        return index

    def add(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.add`."""
        items, ids = check_items(items, ids, dim=self.dim, known=self.ids)
        for vectors, numbers in zip(
            items.split(ITEMS_AT_ONCE), ids.split(ITEMS_AT_ONCE), strict=True
        ):
            rows = [
                {"id": number, "vector": vector}
                for number, vector in zip(numbers.tolist(), vectors.numpy(), strict=True)
            ]
            self.client.insert(self.config.collection, rows)
            self.ids = torch.cat([self.ids, numbers])  # what is there, should the next one fail

    def remove(self, ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.remove`."""
        for numbers in check_known(ids, self.ids).split(ITEMS_AT_ONCE):
            self.client.delete(self.config.collection, ids=numbers.tolist())
            self.ids = self.ids[~torch.isin(self.ids, numbers)]

    def nearest(
        self,
        queries: Float[Tensor, "queries dim"],
        n: int,
        owners: Int[Tensor, " queries"] | None = None,
    ) -> Recommendations:
        """See `VectorIndex.nearest`.

        Raises:
            ValueError: more results than Milvus gives.
        """
        if n > MOST_RESULTS:
            raise ValueError(
                f"{n} results for an interest (N and the history): Milvus gives {MOST_RESULTS} at "
                f"most; ask for fewer, or use FaissIndex"
            )
        items = torch.zeros((len(queries), n), dtype=torch.int64)
        scores = torch.full((len(queries), n), -torch.inf)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            found = self.client.search(
                self.config.collection,
                data=list(queries[start : start + QUERIES_AT_ONCE].numpy()),
                anns_field="vector",
                limit=n,
                search_params={"metric_type": "IP", "params": self.config.search_parameters},
                output_fields=["id"],
            )
            for row, hits in enumerate(found, start):
                items[row, : len(hits)] = torch.tensor([hit["id"] for hit in hits]).long()
                scores[row, : len(hits)] = torch.tensor([hit["distance"] for hit in hits])
        return Recommendations(items, scores)

    def save(self, path: str | Path) -> None:
        """See `VectorIndex.save`: where the collection is and what it holds, without the token."""
        self.client.flush(self.config.collection)
        settings = {key: value for key, value in asdict(self.config).items() if key != "token"}
        files.write(path, files.Stored(type(self).__name__, self.dim, self.ids, {}, settings))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        ids: Int[Tensor, " items"] | None = None,
        token: str = "",
    ) -> MilvusIndex:
        """See `VectorIndex.load`.

        Args:
            token: as `MilvusConfig`.

        Raises:
            ValueError: as `VectorIndex.load`; or the collection is gone, or holds another number
                of items than when it was saved.
            ConnectionError: Milvus does not answer at this address.
        """
        stored = files.read(path, cls.__name__, dim=dim, ids=ids)
        config = MilvusConfig(**stored.settings, token=token)
        index = cls(config, stored.dim, stored.ids)
        name = config.collection
        if not index.client.has_collection(name):
            raise ValueError(f"{config.uri} has no collection {name!r}: build the index again")
        index.client.load_collection(name)
        (count,) = index.client.query(name, filter="", output_fields=["count(*)"])
        if count["count(*)"] != len(stored.ids):
            raise ValueError(
                f"{config.uri}: the collection {name!r} holds {count['count(*)']} items, "
                f"{len(stored.ids)} when it was saved; build it again, and save after changes"
            )
        return index

    def close(self) -> None:
        """Let go of the connection, and of Milvus Lite's folder."""
        self.client.close()


def _connect(config: MilvusConfig) -> MilvusClient:
    try:
        return MilvusClient(config.uri, token=config.token)
    except (MilvusException, OSError) as error:
        raise ConnectionError(
            f"uri={config.uri!r}: Milvus does not answer ({error}); check the address and the "
            f"token, or use a path that ends in .db"
        ) from error
