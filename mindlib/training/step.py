"""One step of training (§3.5): a batch of pairs, its negatives, its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases, Split
from mindlib.models.vector import VectorModel
from mindlib.training.distributed import ALONE, Workers
from mindlib.training.losses import best_interest_loss, hard_negative_loss, routing_penalty
from mindlib.training.negatives import (
    NegativeSampler,
    Proposal,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)
from mindlib.training.optimizers import Schedule

Loss = Literal["label", "best"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; the same for every model in a table.

    Attributes:
        epochs: passes over the training cases, at most.
        batch_size: training pairs (past, target) a step.
        length_pool: how many steps' pairs are sorted by the length of their pasts and dealt out
            to these steps, so that a short past is not padded to a long one's length; 1 is none.
        negatives: items drawn a step, shared by the batch.
        proposal: what negatives are drawn from: uniform, log-uniform in the popularity rank, or
            popularity to the power alpha.
        alpha: the exponent for proposal="popularity".
        logq: correct the negatives' logits for how often they are drawn (see
            `sampled_softmax_loss`).
        in_batch: let the batch's other targets be negatives too (see `NegativeSampler.mix`).
        loss: "label" is the paper's (Eq. 11): all items are scored by what the label made of the
            interests. "best" scores every item by its best interest, as serving does
            (`best_interest_loss`).
        hardness: beta of REMI's interest-aware hard negatives (`hard_negative_loss`); 0 is none.
            With loss="label" only.
        routing_penalty: lambda of REMI's routing regularisation (`losses.routing_penalty`), for
            models that route.
        learning_rate: of Adam.
        warmup_steps: steps over which the learning rate rises to that.
        schedule: "constant" keeps it there, "cosine" lets it fall to 0 over the rest of `epochs`.
        monitor: the validation metric that chooses the epoch to keep.
        patience: stop after this many epochs without a better value.
        exclude_history: whether validation leaves out what the user has already had.
        seed: of the order of the pairs, the negatives and the routing logits.
    """

    epochs: int = 10
    batch_size: int = 1024
    length_pool: int = 1
    negatives: int = 2048
    proposal: Proposal = "uniform"
    alpha: float = 0.75
    logq: bool = True
    in_batch: bool = False
    loss: Loss = "label"
    hardness: float = 0.0
    routing_penalty: float = 0.0
    learning_rate: float = 2e-3
    warmup_steps: int = 0
    schedule: Schedule = "constant"
    monitor: str = "Recall@50"
    patience: int = 2
    exclude_history: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "length_pool", "negatives", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps}: expected 0 (none) or more")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule={self.schedule!r}: expected 'constant' or 'cosine'")
        if self.proposal not in ("uniform", "log-uniform", "popularity"):
            raise ValueError(
                f"proposal={self.proposal!r}: expected 'uniform', 'log-uniform' or 'popularity'"
            )
        if self.loss not in ("label", "best"):
            raise ValueError(f"loss={self.loss!r}: expected 'label' or 'best'")
        for name in ("hardness", "routing_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 (none) or more")
        if self.hardness and self.loss != "label":
            raise ValueError(
                f"hardness={self.hardness} with loss={self.loss!r}: hard negatives are those of "
                f"the interest that the label chose; pass loss='label'"
            )
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha={self.alpha}: expected a finite exponent")
        metric, _, n = self.monitor.partition("@")
        if metric not in ("HitRate", "Recall", "NDCG") or not n.isdigit() or int(n) < 1:
            raise ValueError(
                f"monitor={self.monitor!r}: expected HitRate@N, Recall@N or NDCG@N, N >= 1"
            )


class Batch(NamedTuple):
    """Training pairs (u, i): pasts, and of each an item that followed.

    `together` are the targets of all processes, of which `targets` are this one's.
    """

    histories: Histories
    targets: Int[Tensor, " part"]
    together: Int[Tensor, " batch"]


def batches(
    cases: Cases,
    batch_size: int,
    generator: torch.Generator,
    workers: Workers = ALONE,
    *,
    length_pool: int = 1,
) -> Iterator[Batch]:
    """Every case once, in random order, each with one of its targets drawn at random (§4.1).

    Drawing one costs a basket of ten no more than a basket of one; over the epochs all have
    their turn. Of several processes each gathers its part of every batch.

    Args:
        length_pool: see `TrainingConfig`. Which pairs share a pool, and which step of it comes
            first, is still random.
    """
    device = generator.device
    order = torch.randperm(len(cases), generator=generator, device=device)
    luck = torch.rand(len(cases), generator=generator, device=device, dtype=torch.float64)
    sizes = cases.offsets.diff()
    chosen = cases.targets[cases.offsets[:-1] + (luck * sizes).to(torch.int64)]
    steps = order.split(batch_size)
    if length_pool > 1:
        lengths = cases.histories.lengths
        pools = order.split(batch_size * length_pool)
        steps = [part for p in pools for part in p[lengths[p].argsort()].split(batch_size)]
        turns = torch.randperm(len(steps), generator=generator, device=device)
        steps = [steps[turn] for turn in turns.tolist()]
    for rows in steps:
        part = workers.part(rows)
        together = chosen[rows]
        yield Batch(cases.histories.select(part), workers.part(together), together)


def make_sampler(split: Split, config: TrainingConfig, device: torch.device) -> NegativeSampler:
    """The sampler that the configuration asks for."""
    q = proposal_probabilities(config.proposal, split.train_counts, config.alpha)
    p = target_probabilities(split.train) if config.in_batch else None
    return NegativeSampler(q, device, p)


def training_step(
    model: VectorModel,
    batch: Batch,
    sampler: NegativeSampler,
    config: TrainingConfig,
    generator: torch.Generator,
    own: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """The loss of one batch; its gradients are left in the parameters.

    Args:
        generator: draws the negatives; it must be in the same state in all processes.
        own: draws what the model draws for its part of the batch; `generator`, if it is None.
    """
    model.zero_grad(set_to_none=True)
    negative_ids, log_expected = sampler.draw(config.negatives, generator)
    if config.in_batch:
        negative_ids, log_expected = sampler.mix(negative_ids, batch.together)
    if not len(batch.targets):  # fewer pairs than processes are left
        return torch.zeros((), device=batch.targets.device)
    window = model.history_length
    if config.length_pool > 1:  # otherwise hardly a batch is without a long past
        window = max(1, min(window, int(batch.histories.lengths.max())))
    history = batch.histories.window(window)
    # Every item of the step is embedded once, however often it occurs in it.
    ids = torch.cat([history.items.flatten(), batch.targets, negative_ids])
    distinct, index = torch.unique(ids, return_inverse=True)
    vectors = model.items(distinct)
    behaviors, targets, negatives = torch.nn.functional.embedding(index, vectors).split(
        [history.items.numel(), len(batch.targets), len(negative_ids)]
    )
    interests = model.encode(
        behaviors.unflatten(0, history.items.shape), history, generator=own or generator
    )
    items = (targets, negatives, batch.targets, negative_ids, log_expected if config.logq else None)
    if config.loss == "best":
        loss = best_interest_loss(interests.vectors, interests.active, *items)
    elif config.hardness:
        users = model.readout(interests, targets)
        loss = hard_negative_loss(users, *items, beta=config.hardness)
    else:
        loss = sampled_softmax_loss(model.readout(interests, targets), *items)
    if config.routing_penalty and interests.coupling is not None:
        penalty = routing_penalty(interests.coupling, history.mask)
        loss = loss + config.routing_penalty * penalty
    if len(batch.targets) == len(batch.together):
        loss.backward()
    else:  # so that the sum over the processes is the gradient of the mean over all
        (loss * (len(batch.targets) / len(batch.together))).backward()
    return loss
