"""Sparse user-item matrices of counts, the input of ItemCF and WALS."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_matrix

from mindlib.data.histories import Histories, check_items
from mindlib.data.splits import Split


def training_counts(split: Split) -> csr_matrix:
    """Count the training events of each user and item; row u is user u + 1, column j item j + 1."""
    log, is_training = split.log, split.train_events
    users, items = log.users[is_training], log.items[is_training]
    return _counts(users - 1, items, (log.num_users, log.num_items))


def history_counts(histories: Histories, num_items: int) -> csr_matrix:
    """Count the items of each complete history; row k is history k, column j item j + 1.

    Raises:
        ValueError: an item exceeds `num_items`.
    """
    rows, items = histories.pairs()
    check_items(items, num_items)
    return _counts(rows.cpu().numpy(), items.cpu().numpy(), (len(histories), num_items))


def _counts(
    rows: Int[np.ndarray, " events"], items: Int[np.ndarray, " events"], shape: tuple[int, int]
) -> csr_matrix:
    # The constructor sums duplicate (row, column) pairs.
    return csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, items - 1)), shape=shape)
