"""DIN as it is served: behaviours and candidates in, scores out; one file to keep it in."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.pooling import ItemEmbedding
from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.training.checkpoints import content_digest

FORMAT = "mindlib ranker 1"
ITEMS = "item_vectors"


@dataclass(frozen=True)
class DINRanker:
    """A trained DIN, and the catalogue whose numbers it understands.

    Attributes:
        model: in evaluation mode, on the CPU.
        catalogue: `Catalogue.fingerprint`.
    """

    model: DIN
    catalogue: str

    @staticmethod
    def from_model(model: DIN, log: Interactions) -> DINRanker:
        """What `fit_ranker` has trained, ready to be served; the model is put into evaluation mode.

        Raises:
            ValueError: the log has another number of items, or a weight is NaN or infinite.
        """
        if model.items.num_items != log.num_items:
            raise ValueError(
                f"the model knows {model.items.num_items} items and the log has {log.num_items}; "
                f"pass the log that it was trained with"
            )
        for name, weight in model.named_parameters():
            if not weight.isfinite().all():
                raise ValueError(f"{name} has NaN or infinite values; train again, more slowly")
        return DINRanker(model.cpu().eval(), Catalogue.from_log(log).fingerprint)

    @torch.no_grad()
    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """The logit of each candidate for one user; no candidate has a say in another's.

        Args:
            behavior_items: the model's numbers of her behaviours, oldest first, however many; the
                last `history_length` are read. None at all are a user of whom nothing is known.
            candidates: the model's numbers of the items to be ordered.

        Raises:
            ValueError: a number that the catalogue does not have.
        """
        for what, items in (("behaviour", behavior_items), ("candidate", candidates)):
            strange = items[(items < 1) | (items > self.model.items.num_items)]
            if len(strange):
                raise ValueError(
                    f"{what} {int(strange[0])}: expected 1 to {self.model.items.num_items}; let "
                    f"Catalogue.encode_items number the items"
                )
        behaviors = torch.from_numpy(behavior_items.astype(np.int64))
        behaviors = behaviors[-self.model.config.history_length :][None]
        profile = torch.zeros((1, 0), dtype=torch.int64)
        history = History(behaviors, torch.ones_like(behaviors, dtype=torch.bool), profile)
        return self.model(history, torch.from_numpy(candidates.astype(np.int64))[None])[0].numpy()

    def save(self, path: str | Path) -> None:
        """Write one file, whole or not at all. Each item is in it as one vector, features pooled.

        Raises:
            OSError: it cannot be written; what was there is unchanged.
        """
        path = Path(path).expanduser()
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        weights = self.model.state_dict()
        tensors = {name: value for name, value in weights.items() if not name.startswith("items.")}
        tensors[ITEMS] = self.model.items.all()
        facts = json.dumps(
            {
                "format": FORMAT,
                "mindlib": version("mindlib"),
                "catalogue": self.catalogue,
                "items": self.model.items.num_items,
                "config": dataclasses.asdict(self.model.config),
            }
        )
        try:
            save_file(tensors, part, {"facts": facts, "sha256": content_digest(facts, tensors)})
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"the ranker could not be written to {path} ({error}); what was there is "
                f"unchanged. Choose a folder that exists, is writable and has room"
            ) from error
        finally:
            if part.parent.is_dir():
                part.unlink(missing_ok=True)

    @staticmethod
    def load(path: str | Path, catalogue: Catalogue | None = None) -> DINRanker:
        """What `save` wrote, after every byte of it has been checked.

        Args:
            catalogue: what the caller's numbers mean; refused if the file's own is another one.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no ranker of this format, or damaged, or of another catalogue.
        """
        path = Path(path).expanduser()
        facts, tensors = _read(path)
        if catalogue is not None and facts["catalogue"] != catalogue.fingerprint:
            raise ValueError(
                f"{path} is of another catalogue ({facts['items']} items, "
                f"{facts['catalogue'][:12]}…) than the one expected ({len(catalogue)} items, "
                f"{catalogue.fingerprint[:12]}…): train a ranker with this one"
            )
        options = facts["config"] | {"hidden": tuple(facts["config"]["hidden"])}
        config = DINConfig(**options)
        generator = torch.Generator()
        items = ItemEmbedding(facts["items"], config.dim, generator=generator)
        model = DIN(items, config, generator=generator)
        model.load_state_dict({"items.weight": tensors.pop(ITEMS), **tensors})
        return DINRanker(model.eval(), facts["catalogue"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no ranker at {path}; save one there")
    again = "copy it again, or save the ranker again"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # The file is mapped, and may be replaced while the ranker lives: copies.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or no ranker ({error}); {again}") from error
    if metadata.keys() != {"facts", "sha256"}:
        raise ValueError(f"{path} is no ranker of mindlib; expected what DINRanker.save writes")
    if content_digest(metadata["facts"], tensors) != metadata["sha256"]:
        raise ValueError(f"{path} is damaged: its content has not the sha256 it names; {again}")
    facts = json.loads(metadata["facts"])
    if facts.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {facts.get('format')!r}, this mindlib reads {FORMAT!r}; "
            f"train and save the ranker again"
        )
    return facts, tensors
