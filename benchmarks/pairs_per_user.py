"""Quality per second of `pairs_per_user`, where histories are long.

    python benchmarks/pairs_per_user.py [--data NAME] [--pairs 0 40 10] [--seconds 180]

MIND is trained with at most so many pairs of each user an epoch (0: all), every time with as many
epochs as fit into the given time. The learning rate falls to 0 over these epochs, so that each run
makes the most of its time. The table shows the metrics on the validation cases of
`leave_last_out`; the best epoch is not selected. Run it alone on the machine.
"""

from __future__ import annotations

import argparse

import torch

import mindlib
from mindlib.data import Split, leave_last_out, load
from mindlib.training.step import pairs_in_epoch

SEEDS = (0, 1, 2)
METRIC = "HitRate@50"


def train(split: Split, pairs: int, epochs: int, seed: int) -> tuple[float, float]:
    """Return the seconds of training and the metric after the last epoch."""
    model = mindlib.MIND(split.log, generator=torch.Generator().manual_seed(seed))
    config = mindlib.TrainingConfig(
        epochs=epochs,
        pairs_per_user=pairs,
        schedule="cosine",
        learning_rate=8e-3,
        monitor=METRIC,
        patience=epochs,
        seed=seed,
    )
    log = mindlib.fit(model, split, config, progress=False).log
    return sum(epoch.seconds for epoch in log), log[-1][METRIC]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="movielens-1m", help="a name or path (%(default)s)")
    parser.add_argument("--pairs", type=int, nargs="+", default=[0, 40, 10])
    parser.add_argument("--seconds", type=float, default=180, help="of one run (%(default)s)")
    given = parser.parse_args()
    split = leave_last_out(load(given.data))
    speed = None
    print(f"| pairs per user | pairs an epoch | epochs | seconds | {METRIC}, % (three seeds) |")
    print("|--:|--:|--:|--:|--:|")
    for pairs in given.pairs:
        size = pairs_in_epoch(split.train, pairs)
        if speed is None:
            speed = size / train(split, pairs, 1, 0)[0]
        epochs = max(1, round(given.seconds * speed / size))
        runs = [train(split, pairs, epochs, seed) for seed in SEEDS]
        seconds = sum(run[0] for run in runs) / len(runs)
        values = ", ".join(f"{100 * run[1]:.2f}" for run in runs)
        print(f"| {pairs or 'all'} | {size:,} | {epochs} | {seconds:.0f} | {values} |", flush=True)


if __name__ == "__main__":
    main()
