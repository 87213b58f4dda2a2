"""Training (§3.5): the sampled softmax of Eqs. 10-11, and one `fit` for every vector model."""

from __future__ import annotations

import copy
import ctypes
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases, Split
from mindlib.evaluation import evaluate
from mindlib.models.vector import VectorModel
from mindlib.optim import RowAdam

Proposal = Literal["uniform", "log-uniform", "popularity"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; the same for every model in a table.

    Attributes:
        epochs: passes over the training cases, at most.
        batch_size: training pairs (past, target) a step.
        negatives: items drawn a step, shared by the batch.
        proposal: what negatives are drawn from: uniform, log-uniform in the popularity rank, or
            popularity to the power alpha.
        alpha: the exponent for proposal="popularity".
        logq: correct the negatives' logits for how often they are drawn (see
            `sampled_softmax_loss`).
        learning_rate: of Adam.
        monitor: the validation metric that chooses the epoch to keep.
        patience: stop after this many epochs without a better value.
        exclude_history: whether validation leaves out what the user has already had.
        seed: of the order of the pairs, the negatives and the routing logits.
    """

    epochs: int = 10
    batch_size: int = 1024
    negatives: int = 2048
    proposal: Proposal = "uniform"
    alpha: float = 0.75
    logq: bool = True
    learning_rate: float = 2e-3
    monitor: str = "Recall@50"
    patience: int = 2
    exclude_history: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "negatives", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.proposal not in ("uniform", "log-uniform", "popularity"):
            raise ValueError(
                f"proposal={self.proposal!r}: expected 'uniform', 'log-uniform' or 'popularity'"
            )
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha={self.alpha}: expected a finite exponent")
        metric, _, n = self.monitor.partition("@")
        if metric not in ("HitRate", "Recall", "NDCG") or not n.isdigit() or int(n) < 1:
            raise ValueError(
                f"monitor={self.monitor!r}: expected HitRate@N, Recall@N or NDCG@N, N >= 1"
            )


def proposal_probabilities(
    proposal: Proposal, counts: Int[np.ndarray, " items"], alpha: float = 0.75
) -> Float[np.ndarray, " items"]:
    """q, with which each item is drawn as a negative; entry 0 (padding) is 0.

    Every item has a positive probability, for the sampled softmax estimates a sum over all items.

    Args:
        counts: how often each item occurs in the training events; entry 0 is ignored.
        alpha: exponent of "popularity".
    """
    if proposal == "uniform":
        weights = np.ones(len(counts) - 1)
    elif proposal == "log-uniform":
        rank = np.empty(len(counts) - 1)
        rank[np.argsort(-counts[1:], kind="stable")] = np.arange(len(counts) - 1)
        weights = np.log((rank + 2) / (rank + 1))
    else:
        weights = np.maximum(counts[1:], 1).astype(np.float64) ** alpha
    return np.r_[0, weights / weights.sum()]


class NegativeSampler:
    """Draws negatives with replacement, in time that hardly depends on the catalogue's size.

    Args:
        probabilities: q, see `proposal_probabilities`.
    """

    def __init__(self, probabilities: Float[np.ndarray, " items"], device: torch.device) -> None:
        cumulative = np.cumsum(probabilities[1:])
        self._cumulative = torch.from_numpy(cumulative / cumulative[-1]).to(device)
        self._log_q = torch.from_numpy(np.log(probabilities[1:])).to(torch.float32).to(device)

    def draw(
        self, n: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """n item ids, and the logarithm of how often each is expected among them, log(n q)."""
        uniform = torch.rand(
            n, generator=generator, dtype=torch.float64, device=self._cumulative.device
        )
        index = torch.searchsorted(self._cumulative, uniform, right=True)
        index = index.clamp_(max=len(self._cumulative) - 1)
        return index + 1, self._log_q[index] + math.log(n)


def sampled_softmax_loss(
    users: Float[Tensor, "batch dim"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
) -> Float[Tensor, ""]:
    """-log Pr(i | u) (Eqs. 10-11), with the sum over the catalogue estimated from negatives.

    The denominator is exp(v'e_i) + sum over j != i of exp(v'e_j). Of the second part, negatives
    drawn with probability q give the unbiased estimate sum exp(v'e_j) / (n q_j): in logits, the
    correction -log(n q_j). A negative that is the target itself is an accidental hit: it must not
    be counted, for the target already stands in the first part.

    Args:
        users: v_u, as seen from the target.
        targets, negatives: item embeddings.
        target_ids, negative_ids: which items they are.
        log_expected: log(n q_j), or None for no correction.
    """
    hits = target_ids[:, None] == negative_ids
    shift = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    return _SampledSoftmax.apply(users, targets, negatives, hits, shift)


class _SampledSoftmax(torch.autograd.Function):
    """The mean of logsumexp([v'e_i, v'e_j + shift_j for j no hit]) - v'e_i, in few passes.

    Autograd would keep and walk a batch x negatives matrix at every step of this formula; the
    gradient of a softmax is known, so one such matrix is enough.
    """

    @staticmethod
    def forward(ctx, users, targets, negatives, hits, shift):  # type: ignore[override]
        logits = users.new_empty(len(users), 1 + len(negatives))
        torch.sum(users * targets, dim=1, out=logits[:, 0])
        torch.addmm(shift, users, negatives.T, out=logits[:, 1:])
        logits[:, 1:].masked_fill_(hits, -torch.inf)
        log_probability = torch.log_softmax(logits, dim=1)
        ctx.save_for_backward(users, targets, negatives, log_probability)
        return -log_probability[:, 0].mean()

    @staticmethod
    def backward(ctx, *gradient):  # type: ignore[override]
        users, targets, negatives, log_probability = ctx.saved_tensors
        slope = log_probability.exp_()
        slope[:, 0] -= 1
        slope *= gradient[0] / len(users)
        own, others = slope[:, :1], slope[:, 1:]
        by_user = torch.addmm(own * targets, others, negatives)
        return by_user, own * users, others.T @ users, None, None


@dataclass(frozen=True)
class Fit:
    """What `fit` did.

    Attributes:
        log: a row for each epoch: epoch, loss, the validation metrics, seconds, samples_per_second.
        best_epoch: the epoch whose weights the model now has.
        device: where it ran.
    """

    log: list[dict[str, Any]]
    best_epoch: int
    device: str


def fit(
    model: VectorModel,
    split: Split,
    config: TrainingConfig | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
) -> Fit:
    """Train on `split.train`, keep the weights of the epoch that is best on `split.validation`.

    Args:
        model: trained in place; afterwards it has the weights of the best epoch.
        device: "auto" takes a GPU if there is one.
        progress: show a bar.

    Raises:
        ValueError: the split has no training pairs, or the model another catalogue.
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    config = config or TrainingConfig()
    if not len(split.train):
        raise ValueError(
            f"{split.log.name!r} ({split.name}) has no training case: no event has a past"
        )
    if model.items.num_items != split.log.num_items:
        raise ValueError(
            f"the model knows {model.items.num_items} items and the log has "
            f"{split.log.num_items}; build the model from split.log"
        )
    keep_freed_memory()
    place = choose_device(device)
    model.to(place)
    generator = torch.Generator(place).manual_seed(config.seed)
    cases = split.train.to(place)
    probabilities = proposal_probabilities(config.proposal, split.train_counts, config.alpha)
    sampler = NegativeSampler(probabilities, place)
    optimizers = make_optimizers(model, config.learning_rate)
    cutoff = int(config.monitor.partition("@")[2])

    log: list[dict[str, Any]] = []
    best, best_epoch, best_weights = -math.inf, 0, copy.deepcopy(model.state_dict())
    steps = math.ceil(len(cases) / config.batch_size)
    with tqdm(total=config.epochs * steps, unit="step", disable=not progress, leave=False) as bar:
        for epoch in range(1, config.epochs + 1):
            started, total = time.perf_counter(), torch.zeros((), device=place)
            model.train()
            for batch in batches(cases, config.batch_size, generator):
                loss = training_step(model, batch, sampler, config, generator)
                for optimizer in optimizers:
                    optimizer.step()
                total += loss.detach() * len(batch.targets)
                bar.update()
            loss_value = float(total) / len(cases)
            if not math.isfinite(loss_value):
                raise FloatingPointError(
                    f"the loss of epoch {epoch} is {loss_value}; lower learning_rate="
                    f"{config.learning_rate}, or use a power that is safe for negative scores"
                )
            seconds = time.perf_counter() - started
            metrics = evaluate(
                model, split.validation, (cutoff,), exclude_history=config.exclude_history
            ).means()
            log.append(
                {
                    "epoch": epoch,
                    "loss": loss_value,
                    **metrics,
                    "seconds": seconds,
                    "samples_per_second": len(cases) / seconds,
                }
            )
            bar.set_postfix_str(
                f"loss {loss_value:.3f}, {config.monitor} {metrics[config.monitor]:.4f}"
            )
            if metrics[config.monitor] > best:
                best, best_epoch = metrics[config.monitor], epoch
                best_weights = copy.deepcopy(model.state_dict())
            elif epoch - best_epoch >= config.patience:
                break
    model.load_state_dict(best_weights)
    model.eval()
    return Fit(log, best_epoch, str(place))


def training_step(
    model: VectorModel,
    batch: Batch,
    sampler: NegativeSampler,
    config: TrainingConfig,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """The loss of one batch; its gradients are left in the parameters."""
    model.zero_grad(set_to_none=True)
    history = batch.histories.window(model.history_length)
    negative_ids, log_expected = sampler.draw(config.negatives, generator)
    # Every item of the step is embedded once, however often it occurs in it.
    ids = torch.cat([history.items.flatten(), batch.targets, negative_ids])
    distinct, index = torch.unique(ids, return_inverse=True)
    vectors = model.items(distinct)
    behaviors, targets, negatives = torch.nn.functional.embedding(index, vectors).split(
        [history.items.numel(), len(batch.targets), config.negatives]
    )
    interests = model.encode(
        behaviors.unflatten(0, history.items.shape), history, generator=generator
    )
    loss = sampled_softmax_loss(
        model.readout(interests, targets),
        targets,
        negatives,
        batch.targets,
        negative_ids,
        log_expected if config.logq else None,
    )
    loss.backward()
    return loss


class Batch(NamedTuple):
    """Training pairs (u, i): pasts, and of each an item that followed."""

    histories: Histories
    targets: Int[Tensor, " batch"]


def batches(cases: Cases, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Every case once, in random order, each with one of its targets drawn at random (§4.1).

    Drawing one costs a basket of ten no more than a basket of one; over the epochs all have
    their turn.
    """
    device = generator.device
    order = torch.randperm(len(cases), generator=generator, device=device)
    luck = torch.rand(len(cases), generator=generator, device=device, dtype=torch.float64)
    sizes = cases.offsets.diff()
    chosen = cases.targets[cases.offsets[:-1] + (luck * sizes).to(torch.int64)]
    for rows in order.split(batch_size):
        yield Batch(cases.histories.select(rows), chosen[rows])


def make_optimizers(model: VectorModel, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam for everything: by rows for the item table, dense for the rest."""
    table = model.items.weight
    dense = [p for p in model.parameters() if p is not table and p.numel()]
    return [
        RowAdam(table, learning_rate),
        torch.optim.Adam(dense, lr=learning_rate, fused=True),
    ]


def choose_device(device: str) -> torch.device:
    """The device that is meant.

    Raises:
        ValueError: it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}); "
            f'expected "auto", "cpu" or, with a GPU, "cuda"'
        ) from error
    return place


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks for the next step instead of giving them back.

    Its default unmaps every block above 128 kB when it is freed, and the next step pays for each
    page again. A setting of the process, harmless elsewhere, and without effect where there is no
    glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, limit)
    libc.mallopt(mmap_threshold, limit)
