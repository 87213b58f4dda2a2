"""Training of the ranking stage: DIN on the log of the matching stage, with other negatives.

The ranker orders the list that matching retrieves, so most of its negatives are items of that list
which the user did not take. A few random negatives remain, because a ranker that is trained on
plausible items only can put anything else first. No logQ correction is made, because a score is
only compared with others of the same list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_0, ITEMS, Options
from mindlib.data.splits import Split
from mindlib.online.ranking.din import DIN
from mindlib.online.ranking.lists import build_candidate_lists, evaluate_ranker
from mindlib.retrieval import Recommender
from mindlib.training import Fit, NegativeSampler, Proposal, TrainingConfig, keep_freed_memory
from mindlib.training.epochs import TrainingState, run_epochs
from mindlib.training.fitting import check_trainable
from mindlib.training.sampled_softmax import proposal_probabilities
from mindlib.training.step import sample_targets


@dataclass(frozen=True)
class RankingConfig(Options):
    """How the ranker is trained; the other fields are those of `mindlib.training.TrainingConfig`.

    Attributes:
        negatives: for each target.
        recalled: how many of them are sampled from the list that the matching stage retrieves for
            the history; the others are sampled from the catalogue by `proposal`.
        candidates: the length of that list, in training and in validation.
        patience: stop after this many epochs without a better GAUC on the validation lists.
    """

    epochs: int = 10
    batch_size: int = 256
    negatives: int = 4
    recalled: Annotated[int, AT_LEAST_0] = 3
    candidates: Annotated[int, ITEMS] = 200
    proposal: Proposal = "popularity"
    learning_rate: float = 1e-2
    patience: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = vars(self).keys() - {"recalled", "candidates"}
        TrainingConfig(**{name: getattr(self, name) for name in shared})  # checks their ranges
        if self.recalled > self.negatives:
            raise ValueError(
                f"recalled={self.recalled}: expected 0 to negatives={self.negatives}, because "
                f"they are some of them"
            )


def fit_ranker(
    model: DIN,
    split: Split,
    recall: Recommender,
    config: RankingConfig | None = None,
    *,
    progress: bool = True,
) -> Fit:
    """Train on `split.train` and keep the weights of the epoch with the best validation GAUC.

    The loss is the logistic loss of the target and its negatives. A history ends strictly before
    its target. An item that the user takes in any training event is never a negative of theirs,
    and one that is in the history is not a target, because no list would show it. (Neither occurs
    in a log of first interactions.)

    Args:
        model: trained in place, on its device.
        recall: the trained matching model, whose lists the ranker will order.

    Raises:
        ValueError: the split has no training case, the model has another catalogue, or no
            validation list has both a target and another item.
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    config = config or RankingConfig()
    cases = split.train[:]
    check_trainable(model.items, split)
    lists = build_candidate_lists(split.validation, recall, config.candidates)
    if not lists.labels.any():
        raise ValueError(
            f"none of the {len(lists.items)} validation lists of {config.candidates} candidates "
            f"has a target; give more candidates or a better recall"
        )
    keep_freed_memory()
    recalled = torch.zeros((len(cases), 0), dtype=torch.int32)
    if config.recalled:
        n = lists.items.shape[1]
        recalled = recall.recommend(cases.histories, n, exclude_history=True).items.cpu().int()
    impressions = Impressions(split, recalled, config)
    state = TrainingState.initial(model, model.items.weight, config.learning_rate, config.seed)
    generator = torch.Generator().manual_seed(config.seed)  # the impressions are on the CPU

    def train_epoch(epoch: int) -> Iterator[Tensor]:
        for batch in impressions.batches(generator):
            loss = ranking_step(model, batch)
            for optimizer in state.optimizers:
                optimizer.step()
            yield loss.detach() * len(batch.items)

    def validate() -> dict[str, float]:
        return {"GAUC": evaluate_ranker(model, lists).gauc}

    return run_epochs(
        state,
        train_epoch,
        validate,
        epochs=config.epochs,
        patience=config.patience,
        monitor="GAUC",
        steps=math.ceil(len(cases) / config.batch_size),
        cases=len(cases),
        remedy=f"lower learning_rate={config.learning_rate}",
        progress=progress,
    )


class ImpressionBatch(NamedTuple):
    """Histories, and the items that were or might have been shown after each.

    Attributes:
        items: the target, then its negatives; 0 is padding.
        mask: False where an item is neither a target nor a negative: the loss leaves it out.
    """

    histories: Histories
    items: Int[Tensor, "batch one_plus_negatives"]
    mask: Bool[Tensor, "batch one_plus_negatives"]


class Impressions:
    """The training cases with negatives, which are sampled anew in each epoch.

    Args:
        split: only its training events are read.
        recalled: for each training case the list of the matching stage, padded with 0.
    """

    def __init__(
        self, split: Split, recalled: Int[Tensor, "cases n"], config: RankingConfig
    ) -> None:
        self.cases, self.recalled, self.config = split.train[:], recalled, config
        log, events = split.log, np.flatnonzero(split.train_events)
        self.width, self.never = log.num_items + 1, len(log)
        keys = log.users[events] * self.width + log.items[events]
        keys, first = np.unique(keys, return_index=True)
        self.keys, self.events = torch.from_numpy(keys), torch.from_numpy(events[first])
        probabilities = proposal_probabilities(config.proposal, split.train_counts)
        self.sampler = NegativeSampler(probabilities, torch.device("cpu"))

    def first_events(
        self, users: Int[Tensor, "*shape"], items: Int[Tensor, "*shape"]
    ) -> Int[Tensor, "*shape"]:
        """Return the first training event of each user with each item, or `never`."""
        keys = users * self.width + items
        found = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[found] == keys, self.events[found], self.never)

    def batches(self, generator: torch.Generator) -> Iterator[ImpressionBatch]:
        """Yield every case once, in random order, with one of its targets sampled at random."""
        cases, config = self.cases, self.config
        order = torch.randperm(len(cases), generator=generator)
        targets = sample_targets(cases, generator)
        sampled = config.negatives - config.recalled
        for rows in order.split(config.batch_size):
            histories = cases.histories.select(rows)
            columns = [targets[rows, None]]
            if sampled:
                others, _ = self.sampler.draw(len(rows) * sampled, generator)
                columns.append(others.view(len(rows), sampled))
            if config.recalled:
                shape = (len(rows), config.recalled)
                positions = torch.randint(self.recalled.shape[1], shape, generator=generator)
                columns.append(self.recalled[rows].gather(1, positions).to(torch.int64))
            items = torch.cat(columns, dim=1)
            first = self.first_events(histories.users[:, None].expand_as(items), items)
            mask = (first == self.never) & (items > 0)
            mask[:, 0] = first[:, 0] >= histories.ends
            yield ImpressionBatch(histories, items, mask)


def ranking_step(model: DIN, batch: ImpressionBatch) -> Float[Tensor, ""]:
    """Compute the mean logistic loss of a batch and leave its gradients in the parameters.

    The loss of a batch without any target or negative is 0.
    """
    model.zero_grad(set_to_none=True)
    device = model.items.weight.device
    history = batch.histories.to(device).window(model.config.history_length)
    logits = model(history, batch.items.to(device))
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    mask = batch.mask.to(device)
    loss = F.binary_cross_entropy_with_logits(logits[mask], labels[mask], reduction="sum")
    loss = loss / mask.sum().clamp(min=1)
    loss.backward()
    return loss
