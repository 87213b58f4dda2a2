"""The configuration of a training run (§3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mindlib.data.option_types import AT_LEAST_0, AT_LEAST_1, FACTOR_OR_0, ITEMS, SEED, Options

Proposal = Literal["uniform", "log-uniform", "popularity"]
Schedule = Literal["constant", "cosine"]
Loss = Literal["candidate", "label"]


@dataclass(frozen=True)
class TrainingConfig(Options):
    """Options of a training run. To compare models, train them with the same options.

    Attributes:
        epochs: the maximum number of passes over the training cases.
        batch_size: the number of training pairs (history, target) in a step, over all processes.
        pairs_per_user: the maximum number of pairs of a user in an epoch, a random sample in each;
            0 uses all. It shortens an epoch over data with long histories.
        length_bucket_batches: sort the pairs of this many batches by history length before they
            are divided into batches, which saves padding; 1 disables it.
        negatives: the number of items sampled in a step, which are shared by its pairs.
        proposal: the distribution of the negatives: uniform, log-uniform in the popularity rank,
            or popularity to the power 0.75.
        logq: subtract the logarithm of a negative's expected count from its logit (see
            `sampled_softmax_loss`).
        in_batch: use the other targets of the batch as negatives too (see
            `NegativeSampler.add_in_batch`).
        loss: which items attend to the interests of a user. "candidate": each item itself, label
            or negative, and with p = inf it is scored by its best interest, as in serving
            (`candidate_aware_loss`). "label" (paper, Eqs. 10-11): the label, and all items are
            scored by the resulting user vector. For models with one vector both are the same.
        hardness: beta of REMI's interest-aware hard negatives (`hard_negative_loss`); 0 disables
            them. Requires loss="label".
        routing_penalty: lambda of REMI's routing regularization (`losses.routing_penalty`), for
            models whose coupling passes a gradient (others raise ValueError); 0 disables it.
        learning_rate: the learning rate of Adam.
        schedule: "constant" keeps the learning rate, "cosine" lowers it to 0 until the end of
            `epochs`.
        monitor: the validation metric that selects the best epoch, for example "Recall@50".
        patience: stop after this many epochs without a better value of `monitor`.
        exclude_history: whether validation leaves the items of the history out of the lists.
        seed: the seed of the order of the pairs, the negatives, dropout and the routing logits.

    Raises:
        ValueError: a value is out of range; the message names it and the allowed range.
    """

    epochs: Annotated[int, AT_LEAST_1] = 10
    batch_size: Annotated[int, ITEMS] = 1024
    pairs_per_user: Annotated[int, AT_LEAST_0] = 0
    length_bucket_batches: Annotated[int, ITEMS] = 1
    negatives: Annotated[int, ITEMS] = 2048
    proposal: Proposal = "uniform"
    logq: bool = True
    in_batch: bool = False
    loss: Loss = "candidate"
    hardness: Annotated[float, FACTOR_OR_0] = 0.0
    routing_penalty: Annotated[float, FACTOR_OR_0] = 0.0
    learning_rate: float = 2e-3
    schedule: Schedule = "constant"
    monitor: str = "Recall@50"
    patience: Annotated[int, AT_LEAST_1] = 2
    exclude_history: bool = True
    seed: Annotated[int, SEED] = 0

    @classmethod
    def paper(cls, **changes: Any) -> TrainingConfig:
        """Return the configuration with the paper's loss, with `changes` to its fields."""
        literal: dict[str, Any] = {"loss": "label"}
        return cls(**literal | changes)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.learning_rate <= 100:  # larger steps of Adam overflow without a NaN loss
            raise ValueError(f"learning_rate={self.learning_rate}: expected above 0, at most 100")
        if self.hardness and self.loss != "label":
            raise ValueError(
                f"hardness={self.hardness} with loss={self.loss!r}: hard negatives are defined "
                f"for the interest that the label selects; pass loss='label'"
            )
        metric, _, n = self.monitor.partition("@")
        if metric not in ("HitRate", "Recall", "NDCG") or not n.isdigit() or int(n) < 1:
            raise ValueError(
                f"monitor={self.monitor!r}: expected HitRate@N, Recall@N or NDCG@N, N >= 1"
            )
