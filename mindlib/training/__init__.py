"""Training (§3.5): `fit` for every vector model, with sampled softmax and Adam."""

from mindlib.training.config import Loss, Proposal, TrainingConfig
from mindlib.training.device import choose_device, keep_freed_memory
from mindlib.training.epochs import EpochRecord, Fit
from mindlib.training.fitting import fit
from mindlib.training.optimizers import make_optimizers
from mindlib.training.sampled_softmax import (
    NegativeSampler,
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
    "proposal_probabilities",
    "sampled_softmax_loss",
    "target_probabilities",
    "training_step",
]
