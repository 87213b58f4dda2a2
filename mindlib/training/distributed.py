"""One `fit` in several processes (§5: the paper's training takes 100 GPUs).

    torchrun --nproc-per-node 2 train.py

where train.py is any script that calls `fit`. Every process holds the whole model and the whole
log. A step's batch is the same as that of one process: each process gathers and encodes its part
of it, and the gradients are summed. Of the item table only the rows that were touched travel, so
that a step's traffic does not depend on the catalogue; the rest of the weights is small.

All processes draw alike what concerns them all, the order of the pairs, their targets and the
negatives: with the same seed they see the batches of a single process, and a model that draws
nothing itself gets the same weights up to rounding. What a model draws for its own part of the
batch, MIND's routing logits, is another draw in each process.

A log that no memory holds is beyond this: a log costs each process 24 bytes an event and 40 a
training case. `mindlib.lessons.n04_training.scale` has the arithmetic.
"""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from mindlib.training.optimizers import distinct_rows

# After so long without an answer from the others, a process gives up. One that dies is noticed at
# once in most cases; this is for one that hangs. The first process judges a model alone meanwhile.
PATIENCE = timedelta(minutes=30)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The processes that train one model together: this one is number `rank` of `size`.

    Alone (the default), every method is what it would be without other processes, at no cost.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process shows progress and writes checkpoints."""
        return self.rank == 0

    def shard(self, rows: Int[Tensor, " batch"]) -> Int[Tensor, " part"]:
        """This process's share of a batch: an equal run of its rows, give or take one."""
        return rows if self.size == 1 else rows.tensor_split(self.size)[self.rank]

    def run_on_rank_zero(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What `call` returns in the first process; the others wait for it.

        Raises:
            Exception: what it raised there, in every process.
        """
        if self.size == 1:
            return call(*arguments, **options)
        answer: list[Any] = [None, None]
        if self.is_rank_zero:
            try:
                answer[0] = call(*arguments, **options)
            except Exception as error:  # told to the others, who would wait in vain
                answer[1] = error
        dist.broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def broadcast(
        self, call: Callable[[], tuple[dict[str, Tensor], T]], device: torch.device
    ) -> tuple[dict[str, Tensor], T]:
        """Call on rank 0 and send the tensors, moved to `device`, and the object to all."""
        held: dict[str, Tensor] = {}

        def describe() -> tuple[list[tuple[str, torch.Size, torch.dtype]], T]:
            tensors, rest = call()
            held.update({n: t.detach().to(device).contiguous() for n, t in tensors.items()})
            return [(name, tensor.shape, tensor.dtype) for name, tensor in held.items()], rest

        forms, rest = self.run_on_rank_zero(describe)
        if self.size > 1:
            for name, shape, dtype in forms:
                if not self.is_rank_zero:
                    held[name] = torch.empty(shape, dtype=dtype, device=device)
                dist.broadcast(held[name], src=0)
        return held, rest

    def sum_(self, values: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " *shape"]:
        """The sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, table: nn.Parameter, dense: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes.

        Args:
            table: has sparse gradients: rows and values of all are gathered, then added up.
            dense: all other parameters; their gradients travel as one.
        """
        if self.size == 1:
            return
        table.grad = self._sum_rows(table)
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in dense]
        whole = self.sum_(torch.cat([part.flatten() for part in parts]))
        for parameter, part in zip(dense, whole.split([p.numel() for p in dense]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _sum_rows(self, table: nn.Parameter) -> Tensor:
        if table.grad is None:  # this process had no row of the batch
            rows = torch.empty(0, dtype=torch.int64, device=table.device)
            values = table.new_empty((0, table.shape[1]))
        else:
            rows, values = distinct_rows(table.grad)
        counts = self._gather(torch.tensor([len(rows)], device=table.device))
        sizes = [int(count) for count in counts]
        # What is gathered must have the same shape everywhere.
        padding = max(sizes) - len(rows)
        all_rows = self._gather(nn.functional.pad(rows, (0, padding)))
        all_values = self._gather(nn.functional.pad(values, (0, 0, 0, padding)))
        return torch.sparse_coo_tensor(
            torch.cat([part[:n] for part, n in zip(all_rows, sizes, strict=True)])[None],
            torch.cat([part[:n] for part, n in zip(all_values, sizes, strict=True)]),
            table.shape,
            check_invariants=False,
        ).coalesce()

    def _gather(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return parts


SINGLE_PROCESS = Workers()


def local_device(device: torch.device) -> torch.device:
    """Of several GPUs the one that torchrun meant for this process.

    Raises:
        ValueError: there are more processes on this machine than GPUs.
    """
    local = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or local is None:
        return device
    if int(local) >= torch.cuda.device_count():
        raise ValueError(
            f"LOCAL_RANK={local}: this machine has {torch.cuda.device_count()} GPUs, and each "
            f'process needs its own; lower --nproc-per-node, or pass device="cpu"'
        )
    return torch.device("cuda", int(local))


def join_process_group(device: torch.device) -> Workers:
    """The processes that this one belongs to.

    They are those of torch's process group. Where there is none yet and torchrun started this
    process, the group is formed, gloo on a CPU and nccl on a GPU, and left to the process's end.
    Whoever wants another backend or timeout calls `torch.distributed.init_process_group` first.

    Raises:
        ValueError: the group's backend does not work on `device`.
    """
    if not dist.is_available():
        return SINGLE_PROCESS
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
            return SINGLE_PROCESS
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        # Torch's optimizers import this module when the first of them is made, and its functions
        # have the group of that moment as a default argument. Imported while there is no group,
        # it keeps none alive when this process leaves.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group(backend, timeout=PATIENCE)
        atexit.register(_leave)
    if dist.get_backend() == "nccl" and device.type != "cuda":
        raise ValueError(
            f"device={str(device)!r}: the process group has the backend nccl, which works on GPUs "
            f"only; initialise it with gloo"
        )
    return Workers(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    """Destroy the group and with it its threads, without waiting for the other processes.

    A thread that is still there while the interpreter ends aborts the process, whatever its exit
    code would have been, if it then frees the tensors of the last exchange.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
