"""Training (§3.5): `fit` for every vector model, with sampled softmax and Adam."""

from mindlib.training.config import Proposal, TrainingConfig
from mindlib.training.epochs import EpochRecord, Fit
from mindlib.training.fitting import fit
from mindlib.training.optimizers import make_optimizers
from mindlib.training.sampled_softmax import (
    NegativeSampler,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)
from mindlib.training.step import batches, make_sampler, training_step
from mindlib.training.threads import keep_freed_memory

__all__ = [
    "EpochRecord",
    "Fit",
    "NegativeSampler",
    "Proposal",
    "TrainingConfig",
    "batches",
    "fit",
    "keep_freed_memory",
    "make_optimizers",
    "make_sampler",
    "proposal_probabilities",
    "sampled_softmax_loss",
    "target_probabilities",
    "training_step",
]
