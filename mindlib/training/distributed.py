"""Data-parallel training in several processes (§5: the paper trains on 100 GPUs).

    torchrun --nproc-per-node 2 train.py

where train.py is any script that calls `fit`. Every process holds the whole model and the whole
log. The global batch of a step is the same as in a single process: each process encodes its shard,
and the gradients are summed. Only the rows of the item table that have a gradient are exchanged,
so the traffic of a step does not depend on the size of the catalogue; the other weights are small.

The order of the pairs, their targets and the negatives are sampled from the same seed in all
processes. Therefore, a model without random numbers of its own is trained to the same weights as
in a single process, up to rounding. Random numbers of the model, such as MIND's Gaussian initial
logits and dropout, differ between the processes.
"""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from mindlib.training.optimizers import distinct_rows

# The time that a process waits for the others. A process that ends is usually noticed at once, so
# this limit is for one that hangs. It must exceed the time of a validation, which only rank 0 runs.
TIMEOUT = timedelta(minutes=30)

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The group of `size` processes that train one model together, seen from process `rank`.

    Only rank 0 validates, shows progress and writes checkpoints. In a single process (the default)
    the methods return their arguments or make a plain call.
    """

    rank: int = 0
    size: int = 1

    def shard(self, rows: Int[Tensor, " batch"]) -> Int[Tensor, " shard"]:
        """Return this process's rows of a global batch; shards differ by one row at most."""
        return rows if self.size == 1 else rows.tensor_split(self.size)[self.rank]

    def run_on_rank_zero(self, call: Callable[[], T]) -> T:
        """Call a function on rank 0 and return its result (tensors on the CPU) in every process.

        Raises:
            Exception: the exception of the call, raised again in every process.
        """
        if self.size == 1:
            return call()
        result: list[Any] = [None, None]
        if self.rank == 0:
            try:
                result[0] = call()
            except Exception as error:  # sent to the others, which would wait forever otherwise
                result[1] = error
        dist.broadcast_object_list(result)
        if result[1] is not None:
            raise result[1]
        return result[0]

    def sum_(self, values: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " *shape"]:
        """Sum a tensor over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, table: nn.Parameter, dense: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes.

        Args:
            table: the item table, which has a sparse gradient. Its rows and values are gathered
                from all processes and summed.
            dense: all other parameters. Their gradients are exchanged as one tensor.
        """
        if self.size == 1:
            return
        table.grad = self._sum_rows(table)
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in dense]
        total = self.sum_(torch.cat([part.flatten() for part in parts]))
        for parameter, part in zip(dense, total.split([p.numel() for p in dense]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _sum_rows(self, table: nn.Parameter) -> Tensor:
        if table.grad is None:  # the shard was empty
            rows = torch.empty(0, dtype=torch.int64, device=table.device)
            values = table.new_empty((0, table.shape[1]))
        else:
            rows, values = distinct_rows(table.grad)
        counts = self._gather(torch.tensor([len(rows)], device=table.device))
        sizes = [int(count) for count in counts]
        padding = max(sizes) - len(rows)  # all_gather needs the same shape in every process
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


def choose_device(device: str) -> torch.device:
    """Return the device with this name; "auto" is a GPU if there is one, otherwise the CPU.

    "cuda" without an index is the GPU that torchrun assigned to this process.

    Raises:
        ValueError: the device does not exist, or torchrun started more processes than this
            machine has GPUs.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        local_rank = os.environ.get("LOCAL_RANK")
        if chosen.type == "cuda" and chosen.index is None and local_rank is not None:
            chosen = torch.device("cuda", int(local_rank))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}); expected "
            f'"auto", "cpu" or, with a GPU for each process, "cuda" (lower --nproc-per-node)'
        ) from error
    return chosen


def join_process_group(device: torch.device) -> Workers:
    """Join torch's process group, which is created under torchrun if necessary.

    The backend is gloo on a CPU and nccl on a GPU, and the group lasts until the process ends. For
    another backend or timeout, call `torch.distributed.init_process_group` beforehand.

    Raises:
        ValueError: the group's backend does not support `device`.
    """
    if not dist.is_available():
        return SINGLE_PROCESS
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
            return SINGLE_PROCESS
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        # Import this module before the group exists. Otherwise torch imports it with the first
        # optimizer, and default arguments of its functions then keep the group alive.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group(backend, timeout=TIMEOUT)
        # A thread that frees the tensors of the last exchange while the interpreter ends would
        # abort the process, whatever its exit code. So the group ends first, without waiting.
        atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
    if dist.get_backend() == "nccl" and device.type != "cuda":
        raise ValueError(
            f"device={str(device)!r}: the process group has the backend nccl, which works on GPUs "
            f"only; initialize it with gloo"
        )
    return Workers(dist.get_rank(), dist.get_world_size())
