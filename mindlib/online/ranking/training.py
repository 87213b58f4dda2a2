"""Training of the ranking stage: on the same log as matching, with negatives of its own.

Matching must tell the next item from the whole catalogue, and so do its negatives: drawn from all
items by a known law, for which the sampled softmax is corrected. The ranker never meets the whole
catalogue. What it meets is the list that matching has found, nearly all of it plausible, and what
it must tell is which of the plausible comes next: so its negatives are items of that list which the
user did not take. Trained with drawn items alone it would learn once more what matching knows
already. Some drawn ones stay among them, since the list changes with every new matching model and
with what the store adds, and a ranker that has seen only good items can put anything else first.
No correction for how often an item is drawn is made: a score is compared with those of the same
list, and is no estimate of a sum.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases, Split
from mindlib.online.ranking.din import DIN
from mindlib.online.ranking.lists import build_candidate_lists
from mindlib.online.ranking.metrics import evaluate_ranker
from mindlib.retrieval import Recommender
from mindlib.training import EpochRecord, Fit, keep_freed_memory
from mindlib.training.negatives import NegativeSampler, Proposal, proposal_probabilities
from mindlib.training.optimizers import RowAdam


@dataclass(frozen=True)
class RankingConfig:
    """How the ranker is trained.

    Attributes:
        epochs: passes over the training cases, at most.
        batch_size: training cases (a past with one target) a step.
        negatives: for each target.
        recalled: how many of them come from the list that matching finds for the past; the others
            are drawn from the catalogue.
        candidates: the length of that list, in training and in validation.
        proposal: what the others are drawn from, as in `mindlib.training.fitting.TrainingConfig`.
        alpha: the exponent for proposal="popularity".
        learning_rate: of Adam.
        patience: stop after this many epochs without a better GAUC on the validation lists.
        seed: of the order of the cases and the negatives.
    """

    epochs: int = 10
    batch_size: int = 256
    negatives: int = 4
    recalled: int = 3
    candidates: int = 200
    proposal: Proposal = "popularity"
    alpha: float = 0.75
    learning_rate: float = 1e-2
    patience: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "negatives", "candidates", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not 0 <= self.recalled <= self.negatives:
            raise ValueError(
                f"recalled={self.recalled}: expected 0 to negatives={self.negatives}, of which "
                f"they are a part"
            )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.proposal not in ("uniform", "log-uniform", "popularity"):
            raise ValueError(
                f"proposal={self.proposal!r}: expected 'uniform', 'log-uniform' or 'popularity'"
            )
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha={self.alpha}: expected a finite exponent")


def fit_ranker(
    model: DIN,
    split: Split,
    recall: Recommender,
    config: RankingConfig | None = None,
    *,
    progress: bool = True,
) -> Fit:
    """Train on `split.train`, keep the weights of the epoch with the best GAUC on validation lists.

    The loss is that of a logistic regression over the target and its negatives. A case's past
    ends strictly before its target. An item that the user takes at any time of the training
    events is never a negative of hers, and one that she has had already is no target, since no
    list would show it (neither happens in a log of first interactions only).

    Args:
        model: trained in place, where it is.
        recall: the matching model, already trained, whose lists the ranker is going to meet. It
            has seen the training targets itself; the validation lists, of cases that neither has
            seen, say whether that harms.

    Raises:
        ValueError: the split has no training case, the model another catalogue, or no validation
            list has both a target and another item.
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    config = config or RankingConfig()
    cases = split.train
    _check(model, split)
    lists = build_candidate_lists(split.validation, recall, config.candidates)
    if not lists.labels.any():
        raise ValueError(
            f"none of the {len(lists.items)} validation lists of {config.candidates} candidates "
            f"has a target; give more candidates or a better recall"
        )
    keep_freed_memory()
    found = torch.zeros((len(cases), 0), dtype=torch.int32)
    if config.recalled:
        n = lists.items.shape[1]
        found = recall.recommend(cases.histories, n, exclude_history=True).items.cpu().int()
    impressions = Impressions(split, found, config)
    table = model.items.weight
    optimizers = [
        RowAdam(table, config.learning_rate),
        torch.optim.Adam(
            [p for p in model.parameters() if p is not table], lr=config.learning_rate, fused=True
        ),
    ]
    generator = torch.Generator().manual_seed(config.seed)
    steps = math.ceil(len(cases) / config.batch_size)
    log: list[EpochRecord] = []
    best_epoch, best_weights = 0, copy.deepcopy(model.state_dict())
    total = config.epochs * steps
    with tqdm(total=total, unit="step", disable=not progress, leave=False) as bar:
        while len(log) < config.epochs and len(log) - best_epoch < config.patience:
            started = time.perf_counter()
            losses = []
            model.train()
            for batch in impressions.batches(generator):
                loss = training_step(model, batch)
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss of epoch {len(log) + 1} is {loss} at step {len(losses) + 1} of "
                        f"{steps}; lower learning_rate={config.learning_rate}"
                    )
                for optimizer in optimizers:
                    optimizer.step()
                losses.append(loss)
                bar.update()
            seconds = time.perf_counter() - started
            quality = evaluate_ranker(model.eval(), lists)
            log.append(
                EpochRecord(
                    epoch=len(log) + 1,
                    step=(len(log) + 1) * steps,
                    loss=float(np.mean(losses)),
                    metrics={"AUC": quality.auc, "GAUC": quality.gauc},
                    learning_rate=config.learning_rate,
                    seconds=seconds,
                    samples_per_second=len(cases) / seconds,
                )
            )
            bar.set_postfix_str(f"loss {log[-1].loss:.3f}, GAUC {quality.gauc:.4f}")
            if not best_epoch or quality.gauc > log[best_epoch - 1]["GAUC"]:
                best_epoch, best_weights = len(log), copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return Fit(log, best_epoch, str(table.device))


def _check(model: DIN, split: Split) -> None:
    """Refuse what could only fail later."""
    what = f"{split.log.name!r} ({split.name})"
    if not len(split.train):
        raise ValueError(f"{what} has no training case: no event has a past")
    if not len(split.validation):
        raise ValueError(f"{what} has no validation case, by which to choose the epoch to keep")
    if model.items.num_items != split.log.num_items:
        raise ValueError(
            f"the model knows {model.items.num_items} items and the log has "
            f"{split.log.num_items}; build the model from split.log"
        )


class ImpressionBatch(NamedTuple):
    """Pasts, and what was or might have been shown after each.

    Attributes:
        histories: the pasts.
        items: the target first, then its negatives; 0 where there is none.
        counts: False where an item is neither: it is left out of the loss.
    """

    histories: Histories
    items: Int[Tensor, "batch one_plus_negatives"]
    counts: Bool[Tensor, "batch one_plus_negatives"]


class Impressions:
    """The training cases with negatives, drawn anew at each pass.

    Args:
        split: its training events alone are read.
        found: for each training case the list that matching has found, 0 where it ends; without
            columns if none is needed.
    """

    def __init__(self, split: Split, found: Int[Tensor, "cases n"], config: RankingConfig) -> None:
        self.cases, self.found, self.config = split.train, found, config
        self.taken = Taken(split)
        probabilities = proposal_probabilities(config.proposal, split.train_counts, config.alpha)
        self.sampler = NegativeSampler(probabilities, torch.device("cpu"))

    def batches(self, generator: torch.Generator) -> Iterator[ImpressionBatch]:
        """Every case once, in random order, each with one of its targets drawn at random."""
        cases, config = self.cases, self.config
        order = torch.randperm(len(cases), generator=generator)
        luck = torch.rand(len(cases), generator=generator, dtype=torch.float64)
        chosen = _one_of_each(cases, luck)
        drawn = config.negatives - config.recalled
        for rows in order.split(config.batch_size):
            histories = cases.histories.select(rows)
            parts = [chosen[rows, None]]
            if drawn:
                others, _ = self.sampler.draw(len(rows) * drawn, generator)
                parts.append(others.view(len(rows), drawn))
            if config.recalled:
                places = torch.randint(
                    self.found.shape[1], (len(rows), config.recalled), generator=generator
                )
                parts.append(self.found[rows].gather(1, places).to(torch.int64))
            items = torch.cat(parts, dim=1)
            first = self.taken.first(histories.users[:, None].expand_as(items), items)
            counts = (first == self.taken.never) & (items > 0)
            counts[:, 0] = first[:, 0] >= histories.ends
            yield ImpressionBatch(histories, items, counts)


class Taken:
    """When each user first took each item, in the training events."""

    def __init__(self, split: Split) -> None:
        log = split.log
        events = np.flatnonzero(split.train_events)
        self.width = log.num_items + 1
        self.never = len(log)
        keys, place = np.unique(
            log.users[events] * self.width + log.items[events], return_index=True
        )
        self._keys = torch.from_numpy(keys)
        self._first = torch.from_numpy(events[place])

    def first(
        self, users: Int[Tensor, "*shape"], items: Int[Tensor, "*shape"]
    ) -> Int[Tensor, "*shape"]:
        """The number of the event in the log; `never` where there is none."""
        keys = users * self.width + items
        place = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        return torch.where(self._keys[place] == keys, self._first[place], self.never)


def _one_of_each(cases: Cases, luck: Float[Tensor, " cases"]) -> Int[Tensor, " cases"]:
    return cases.targets[cases.offsets[:-1] + (luck * cases.offsets.diff()).to(torch.int64)]


def training_step(model: DIN, batch: ImpressionBatch) -> float:
    """The mean logistic loss of a batch (0 if nothing counts in it); leaves its gradients."""
    model.zero_grad(set_to_none=True)
    place = model.items.weight.device
    history = batch.histories.to(place).window(model.config.history_length)
    logits = model(history, batch.items.to(place))
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    counts = batch.counts.to(place)
    # A last batch of a few repeats may have nothing that counts: a mean would be NaN.
    loss = F.binary_cross_entropy_with_logits(logits[counts], labels[counts], reduction="sum")
    loss = loss / counts.sum().clamp(min=1)
    loss.backward()
    return float(loss.detach())
