"""torch-rechub's MIND in its own trainer: samples a second. Runs in an environment of its own.

    python peer_torch_rechub.py DATA.npz NEGATIVES_PER_SAMPLE SECONDS [BATCH]

DATA.npz holds `history` (samples, L), `target` (samples,) and `num_items`. Prints one JSON line.

Its MIND scores a list of negatives for each sample, so a batch of 128 with ten negatives each
draws 1,280, and computes one in 128 of the inner products of 1,280 negatives that all share.
"""

import contextlib
import io
import json
import resource
import sys
import time

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import MIND
from torch_rechub.trainers import MatchTrainer

DIM, INTERESTS = 64, 4


def main() -> None:
    path, negatives, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    batch = int(sys.argv[4]) if len(sys.argv) > 4 else 128
    data = np.load(path)
    history, target, num_items = data["history"], data["target"], int(data["num_items"])
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    size = num_items + 1
    user = [SparseFeature("user", vocab_size=2, embed_dim=DIM)]
    past = [SequenceFeature("hist", vocab_size=size, embed_dim=DIM, pooling="concat",
                            shared_with="item")]  # fmt: skip
    item = [SparseFeature("item", vocab_size=size, embed_dim=DIM)]
    negative = [SequenceFeature("neg_items", vocab_size=size, embed_dim=DIM, pooling="concat",
                                shared_with="item")]  # fmt: skip
    model = MIND(user, past, item, negative, max_length=history.shape[1], interest_num=INTERESTS,
                 dynamic_interest=True)  # fmt: skip
    trainer = MatchTrainer(model, mode=2, optimizer_params={"lr": 1e-3}, device="cpu")

    def loader(count: int) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        # Its DataLoader collates sample by sample, which costs it half its speed: hand its trainer
        # ready batches instead, the best that it can get.
        columns = {
            "user": np.ones(count, dtype=np.int64),
            "item": target[:count],
            "hist": history[:count],
            "neg_items": rng.integers(1, num_items + 1, (count, negatives)),
        }
        parts = {name: torch.from_numpy(values).split(batch) for name, values in columns.items()}
        return [
            (
                {name: part[n] for name, part in parts.items()},
                torch.zeros(len(part), dtype=torch.int64),
            )
            for n, part in enumerate(parts["item"])
        ]

    # Long lists of negatives are slow: a few batches of them are enough to warm up.
    warm = min(len(target), 4 * batch if negatives > 100 else max(4 * batch, 40 * 128))
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        trainer.train_one_epoch(loader(warm))
        batches = loader(warm)
        started = time.perf_counter()
        trainer.train_one_epoch(batches)
        rate = warm / (time.perf_counter() - started)
        count = int(min(len(target), max(warm, rate * seconds)))
        batches = loader(count)
        started = time.perf_counter()
        trainer.train_one_epoch(batches)
        elapsed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": count / elapsed, "peak_mb": peak}))


if __name__ == "__main__":
    main()
