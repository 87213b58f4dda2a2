"""Device selection and memory allocator settings of a training run."""

from __future__ import annotations

import ctypes
import os
import platform

import torch


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


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks for the next step instead of returning them to the system.

    By default glibc unmaps every block above 128 kB when it is freed, so that the next step has to
    map each page again. The setting applies to the whole process. It has no effect without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, limit)
    libc.mallopt(mmap_threshold, limit)
