"""Training (§3.5): `fit` for every vector model, with sampled softmax and Adam."""

from mindlib.training.config import Loss, TrainingConfig
from mindlib.training.fitting import (
    EpochRecord,
    Fit,
    choose_device,
    fit,
    keep_freed_memory,
    make_optimizers,
    parameters,
)
from mindlib.training.negatives import (
    NegativeSampler,
    Proposal,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)
from mindlib.training.step import Batch, batches, make_sampler, training_step

__all__ = [
    "Batch",
    "EpochRecord",
    "Fit",
    "Loss",
    "NegativeSampler",
    "Proposal",
    "TrainingConfig",
    "batches",
    "choose_device",
    "fit",
    "keep_freed_memory",
    "make_optimizers",
    "make_sampler",
    "parameters",
    "proposal_probabilities",
    "sampled_softmax_loss",
    "target_probabilities",
    "training_step",
]
