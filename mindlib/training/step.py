"""One step of training (§3.5): a batch of pairs, its negatives, its loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases, Split
from mindlib.models.vector import VectorModel
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import SINGLE_PROCESS, Workers
from mindlib.training.losses import best_interest_loss, hard_negative_loss, routing_penalty
from mindlib.training.negatives import (
    NegativeSampler,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)


class Batch(NamedTuple):
    """Training pairs (u, i): pasts, and of each an item that followed.

    `global_targets` are the targets of all processes, of which `targets` are the shard of this one.
    """

    histories: Histories
    targets: Int[Tensor, " shard"]
    global_targets: Int[Tensor, " batch"]


def batches(
    cases: Cases,
    batch_size: int,
    generator: torch.Generator,
    workers: Workers = SINGLE_PROCESS,
    *,
    length_bucket_batches: int = 1,
) -> Iterator[Batch]:
    """Every case once, in random order, each with one of its targets drawn at random (§4.1).

    Drawing one costs a basket of ten no more than a basket of one; over the epochs all have
    their turn. Of several processes each gathers its part of every batch.

    Args:
        length_bucket_batches: see `TrainingConfig`. Which pairs share a bucket and the order of
            its batches are still random.
    """
    device = generator.device
    order = torch.randperm(len(cases), generator=generator, device=device)
    uniform = torch.rand(len(cases), generator=generator, device=device, dtype=torch.float64)
    sizes = cases.offsets.diff()
    chosen = cases.targets[cases.offsets[:-1] + (uniform * sizes).to(torch.int64)]
    steps = order.split(batch_size)
    if length_bucket_batches > 1:
        lengths = cases.histories.lengths
        pools = order.split(batch_size * length_bucket_batches)
        steps = [part for p in pools for part in p[lengths[p].argsort()].split(batch_size)]
        turns = torch.randperm(len(steps), generator=generator, device=device)
        steps = [steps[turn] for turn in turns.tolist()]
    for rows in steps:
        shard, global_targets = workers.shard(rows), chosen[rows]
        targets = workers.shard(global_targets)
        yield Batch(cases.histories.select(shard), targets, global_targets)


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
    local_generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """The loss of one batch; its gradients are left in the parameters.

    Args:
        generator: draws the negatives; it must be in the same state in all processes.
        local_generator: for random numbers of the model, which differ between processes;
            `generator` if it is None.
    """
    model.zero_grad(set_to_none=True)
    negative_ids, log_expected = sampler.draw(config.negatives, generator)
    if config.in_batch:
        negative_ids, log_expected = sampler.add_in_batch(negative_ids, batch.global_targets)
    if not len(batch.targets):  # fewer pairs than processes are left
        return torch.zeros((), device=batch.targets.device)
    window = model.history_length
    if config.length_bucket_batches > 1:  # otherwise hardly a batch is without a long past
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
        behaviors.unflatten(0, history.items.shape), history, generator=local_generator or generator
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
    if len(batch.targets) == len(batch.global_targets):
        loss.backward()
    else:  # so that the sum over the processes is the gradient of the mean over all
        (loss * (len(batch.targets) / len(batch.global_targets))).backward()
    return loss
