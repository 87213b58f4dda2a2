"""A training step (§3.5): batches of (history, target) pairs, and the loss and its gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.cases import Cases, TrainingCases
from mindlib.data.histories import Histories
from mindlib.data.splits import Split
from mindlib.models.vector_model import Interests, VectorModel
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import SINGLE_PROCESS, Workers
from mindlib.training.losses import hard_negative_loss, routing_penalty
from mindlib.training.order import RandomOrder, UserSample
from mindlib.training.sampled_softmax import (
    NegativeSampler,
    candidate_aware_loss,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)

# Users that a step encodes together.
USERS_AT_ONCE = 256
# Cases that are selected from the log together.
CASES_AT_ONCE = 1 << 14


class Batch(NamedTuple):
    """A batch of training pairs (u, i), each a history and one of the items that followed it.

    Attributes:
        histories: the histories of this process's shard, in the order of their lengths.
        targets: the target item of each of these histories.
        global_targets: the targets of the global batch, that is of all processes.
    """

    histories: Histories
    targets: Int[Tensor, " shard"]
    global_targets: Int[Tensor, " batch"]


def sample_targets(cases: Cases, generator: torch.Generator) -> Int[Tensor, " cases"]:
    """Sample one target of each case uniformly, so that every basket counts as one pair."""
    uniform = torch.rand(
        len(cases), generator=generator, device=generator.device, dtype=torch.float64
    )
    return cases.targets[cases.offsets[:-1] + (uniform * cases.offsets.diff()).to(torch.int64)]


def pairs_in_epoch(cases: TrainingCases, pairs_per_user: int) -> int:
    """Count the pairs that `batches` yields: one a case, or at most so many of each user."""
    return int(cases.of_user.clip(max=pairs_per_user).sum()) if pairs_per_user else len(cases)


def batches(
    cases: TrainingCases,
    batch_size: int,
    generator: torch.Generator,
    workers: Workers = SINGLE_PROCESS,
    *,
    pairs_per_user: int = 0,
    length_bucket_batches: int = 1,
) -> Iterator[Batch]:
    """Yield random batches that contain every case once, each with a random target (§4.1).

    With `pairs_per_user`, they contain at most so many cases of each user, sampled at random.

    Args:
        batch_size: the number of cases in a global batch, which the processes share.
        generator: for the order and the targets; its state must be the same in all processes.
        length_bucket_batches: see `TrainingConfig`. The assignment of cases to buckets and the
            order of the batches remain random.
    """
    device = generator.device
    seed = torch.randint(2**62, (1,), generator=generator, device=device)
    rng, log = np.random.default_rng(int(seed)), cases[:0].histories.to(device)
    order = RandomOrder(pairs_in_epoch(cases, pairs_per_user), rng)
    sample = UserSample(cases.of_user, pairs_per_user, rng) if pairs_per_user else None
    bucket = batch_size * length_bucket_batches
    size = bucket * math.ceil(CASES_AT_ONCE / bucket)
    for start in range(0, order.size, size):
        chosen = np.sort(order[start : start + size])  # sorted reads are faster
        block = cases[sample.find(chosen) if sample else chosen].on(log)
        targets = sample_targets(block, generator)
        rows = torch.from_numpy(rng.permutation(len(block))).to(device)
        steps, lengths = rows.split(batch_size), block.histories.lengths
        if length_bucket_batches > 1:
            buckets = rows.split(bucket)
            steps = [rows for b in buckets for rows in b[lengths[b].argsort()].split(batch_size)]
            steps = [steps[turn] for turn in rng.permutation(len(steps))]
        for rows in steps:
            shard, global_targets = workers.shard(rows), targets[rows]
            shard = shard[lengths[shard].argsort()]
            yield Batch(block.histories.select(shard), targets[shard], global_targets)


def make_sampler(split: Split, config: TrainingConfig, device: torch.device) -> NegativeSampler:
    """Create the negative sampler for the proposal distribution that `config` selects."""
    q = proposal_probabilities(config.proposal, split.train_counts)
    p = target_probabilities(split.train, config.pairs_per_user) if config.in_batch else None
    return NegativeSampler(q, device, p)


def training_step(
    model: VectorModel,
    batch: Batch,
    sampler: NegativeSampler,
    config: TrainingConfig,
    generator: torch.Generator,
    local_generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Compute the mean loss of a batch and its gradients, which are stored in the parameters.

    With several processes the gradients are those of the shard's part of the global mean, so that
    their sum over the processes is the gradient of the global batch.

    Args:
        generator: for the negatives; its state must be the same in all processes.
        local_generator: for the random numbers of the model, which differ between processes;
            `generator` by default.
    """
    model.zero_grad(set_to_none=True)
    negative_ids, log_expected = sampler.draw(config.negatives, generator)
    if config.in_batch:
        negative_ids, log_expected = sampler.add_in_batch(negative_ids, batch.global_targets)
    if not len(batch.targets):  # the global batch has fewer pairs than there are processes
        return torch.zeros((), device=batch.targets.device)
    # Users with histories of similar length are encoded together, which saves padding.
    windows = [
        part.window(max(1, min(model.history_length, int(part.lengths.max()))))
        for part in batch.histories.split(USERS_AT_ONCE)
    ]
    # Compute the embedding of each distinct item only once.
    parts = [*(history.items.flatten() for history in windows), batch.targets, negative_ids]
    distinct, index = torch.unique(torch.cat(parts), return_inverse=True)
    vectors = torch.nn.functional.embedding(index, model.items(distinct))
    *behaviors, targets, negatives = vectors.split([len(part) for part in parts])
    encoded = [
        model.encode(
            part.unflatten(0, history.items.shape), history, generator=local_generator or generator
        )
        for part, history in zip(behaviors, windows, strict=True)
    ]
    interests = Interests(
        torch.cat([part.vectors for part in encoded]),
        torch.cat([part.active for part in encoded]),
        None,
    )
    items = (targets, negatives, batch.targets, negative_ids, log_expected if config.logq else None)
    if config.loss == "candidate":
        loss = candidate_aware_loss(interests.vectors, interests.active, *items, model.power)
    elif config.hardness:
        users = model.readout(interests, targets)
        loss = hard_negative_loss(users, *items, beta=config.hardness)
    else:
        loss = sampled_softmax_loss(model.readout(interests, targets), *items)
    if config.routing_penalty:
        for part, history in zip(encoded, windows, strict=True):
            if part.coupling is None or not part.coupling.requires_grad:
                raise ValueError(
                    f"routing_penalty={config.routing_penalty}: no gradient passes through the "
                    f"coupling of this {type(model).__name__}; use ComiRecSA, or MIND with "
                    f"gradient='all', or set routing_penalty=0"
                )
            share = config.routing_penalty * len(history.mask) / len(batch.targets)
            loss = loss + share * routing_penalty(part.coupling, history.mask)
    (loss * (len(batch.targets) / len(batch.global_targets))).backward()
    return loss
