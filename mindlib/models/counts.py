"""The log as a sparse matrix of counts: what models that are not neural learn from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_matrix

from mindlib.data.histories import Histories
from mindlib.data.splits import Split


def training_counts(split: Split) -> csr_matrix:
    """How often each user (rows, from 1) met each item in what training may use.

    Column j is item j + 1: there is no padding to learn about.
    """
    log, learnt = split.log, split.train_events
    return _counts(log.users[learnt] - 1, log.items[learnt], (log.num_users, log.num_items))


def history_counts(histories: Histories, num_items: int) -> csr_matrix:
    """How often each item occurs in each past, all of it; columns as in `training_counts`."""
    rows, items = (value.cpu().numpy() for value in histories.pairs())
    return _counts(rows, items, (len(histories), num_items))


def _counts(
    rows: Int[np.ndarray, " events"], items: Int[np.ndarray, " events"], shape: tuple[int, int]
) -> csr_matrix:
    # The sum over equal (row, column) is the constructor's.
    return csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, items - 1)), shape=shape)
