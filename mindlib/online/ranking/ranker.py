"""DIN in serving: scores for one user at a time, and its file format."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.data.tensor_file import TensorFile, read_tensors, write_tensors
from mindlib.layers.pooling import ItemEmbedding
from mindlib.online.ranking.din import DIN, DINConfig

FORMAT = "mindlib ranker 2"
ITEMS = "item_vectors"


@dataclass(frozen=True)
class DINRanker:
    """A trained DIN for serving, on the CPU, and the fingerprint of its items' catalogue."""

    model: DIN
    catalogue: str

    @staticmethod
    def from_model(model: DIN, log: Interactions) -> DINRanker:
        """Prepare a trained model for serving; it is put into evaluation mode.

        Raises:
            ValueError: the log has another number of items, or a weight is NaN or infinite.
        """
        if model.items.num_items != log.num_items:
            raise ValueError(
                f"the model has {model.items.num_items} items, the log {log.num_items}; pass the "
                f"log that the model was trained with"
            )
        for name, weight in model.state_dict().items():
            if not weight.isfinite().all():
                raise ValueError(
                    f"{name} has NaN or infinite values; train again with a lower learning rate"
                )
        return DINRanker(model.cpu().eval(), Catalogue.from_log(log).fingerprint)

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Return the logit of each candidate for one user, independent of the other candidates.

        Args:
            behavior_items: the user's behaviors, oldest first; the last `history_length` are used.

        Raises:
            ValueError: an item is not in the catalogue, or a logit is NaN or infinite.
        """
        if (lowest := min(behavior_items.min(initial=1), candidates.min(initial=1))) < 1:
            raise ValueError(
                f"item {lowest}: expected 1 or more; number the items by Catalogue.encode_items"
            )
        histories = Histories.from_lists([behavior_items.tolist()])
        items = torch.from_numpy(candidates.astype(np.int64))
        logits = self.model.score_lists(histories, items[None])[0]
        if not logits.isfinite().all():  # no later stage would notice a wrong order
            raise ValueError(
                "the logits of the candidates overflow; train again with a lower learning rate"
            )
        return logits.numpy()

    def save(self, path: str | Path) -> None:
        """Write one file, completely or not at all; it has one vector an item, features pooled.

        Raises:
            OSError: the file cannot be written; an older file is unchanged.
        """
        path = Path(path).expanduser()
        weights = self.model.state_dict()
        tensors = {name: value for name, value in weights.items() if not name.startswith("items.")}
        tensors[ITEMS] = self.model.items.all()
        facts = {
            "catalogue": self.catalogue,
            "items": self.model.items.num_items,
            "config": dataclasses.asdict(self.model.config),
        }
        write_tensors(path, FORMAT, TensorFile(tensors, facts))

    @staticmethod
    def load(path: str | Path, catalogue: Catalogue | None = None) -> DINRanker:
        """Read the output of `save` and verify its digest.

        Args:
            catalogue: numbers the items of the caller; must be the file's.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is not a ranker of this format, damaged, or of another catalogue.
        """
        path = Path(path).expanduser()
        tensors, facts = read_tensors(path, FORMAT, "copy it again, or train and save it again")
        if catalogue is not None and facts["catalogue"] != catalogue.fingerprint:
            raise ValueError(
                f"{path} is of another catalogue ({facts['items']} items, "
                f"{facts['catalogue'][:12]}…) than expected ({len(catalogue)} items, "
                f"{catalogue.fingerprint[:12]}…): train a ranker with this catalogue"
            )
        hidden = tuple(facts["config"]["hidden"])
        config = DINConfig(**facts["config"] | {"hidden": hidden})
        generator = torch.Generator()
        items = ItemEmbedding(facts["items"], config.dim, generator=generator)
        model = DIN(items, config, generator=generator)
        model.load_state_dict({"items.weight": tensors.pop(ITEMS), **tensors})
        return DINRanker(model.eval(), facts["catalogue"])
