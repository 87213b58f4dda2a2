"""What training on a catalogue of any size takes, on paper (§5): counted, not timed.

Throughout, a weight is a float32 of 4 bytes and a row number an int64 of 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WEIGHT, ROW_NUMBER = 4, 8


@dataclass(frozen=True)
class Scale:
    """A training: the catalogue, the log, and the processes that share a batch.

    Attributes:
        items, users: of the catalogue and the log. Items have no features here; a table of
            features is small beside that of 10^8 ids.
        events: behaviours in the log; one training pair each.
        dim: d.
        history_length: behaviours of a pair that are looked at.
        batch_size: pairs a step, of all workers together.
        negatives: items drawn a step, the same for all workers.
        workers: processes, each with the whole model.
        pairs_per_second: of one worker, as measured, with the exchange of gradients.
    """

    items: int
    users: int
    events: int
    dim: int
    history_length: int
    batch_size: int
    negatives: int
    workers: int
    pairs_per_second: float | int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}={value}: expected a positive number")
        if self.batch_size < self.workers:
            raise ValueError(
                f"batch_size={self.batch_size}: expected at least one pair for each of the "
                f"{self.workers} workers"
            )

    @property
    def table_bytes(self) -> int:
        """The item table: a row of d weights for each item, and one for padding."""
        return (self.items + 1) * self.dim * WEIGHT

    @property
    def optimizer_bytes(self) -> int:
        """Adam's two moments, each as large as the table."""
        return 2 * self.table_bytes

    @property
    def rows_per_worker(self) -> float:
        """Distinct items that one worker is expected to touch a step; all meet the negatives.

        With uniform sampling n draws meet items * (1 - (1 - 1/items)^n) of them. Popularity makes
        them fewer, so this is an upper bound.
        """
        draws = self.batch_size / self.workers * (self.history_length + 1) + self.negatives
        return self._distinct(draws)

    def _distinct(self, draws: float | int) -> float:
        return -self.items * math.expm1(draws * math.log1p(-1 / self.items))

    @property
    def sent_bytes(self) -> float:
        """What one worker sends a step: the number and the gradient of each row it touched."""
        return self.rows_per_worker * (ROW_NUMBER + self.dim * WEIGHT)

    @property
    def received_bytes(self) -> float:
        """What it receives a step: the rows of all others."""
        return (self.workers - 1) * self.sent_bytes

    @property
    def dense_exchange_bytes(self) -> float:
        """What it would receive if the table's whole gradient were summed in a ring instead:
        2 (workers - 1) / workers times its size."""
        return 2 * (self.workers - 1) / self.workers * self.table_bytes

    @property
    def steps(self) -> int:
        """Of one pass over the pairs."""
        return math.ceil(self.events / self.batch_size)

    @property
    def hours(self) -> float:
        """One pass over the pairs, if the workers keep their throughput."""
        return self.events / (self.workers * self.pairs_per_second) / 3600

    @property
    def bytes_per_second(self) -> float:
        """What a worker's network must carry in for that: received a step, by steps a second."""
        steps_per_second = self.workers * self.pairs_per_second / self.batch_size
        return self.received_bytes * steps_per_second

    def pairs_per_second_for(self, hours: float | int) -> float:
        """What one worker must do to be through in that time."""
        return self.events / (self.workers * hours * 3600)
