"""torch-rechub's MIND in its own trainer: samples a second. Runs in an environment of its own.

    python peer_torch_rechub.py DATA.npz NEGATIVES_PER_SAMPLE SECONDS

DATA.npz holds `history` (samples, L), `target` (samples,) and `num_items`. Prints one JSON line.

Its MIND scores a list of negatives for each sample, so a batch of 128 with ten negatives each
draws 1,280, and computes a tenth of the inner products of 1,280 negatives that all share.
"""

import contextlib
import io
import json
import sys
import time

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import MIND
from torch_rechub.trainers import MatchTrainer

DIM, INTERESTS, BATCH = 64, 4, 128


def main() -> None:
    path, negatives, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    data = np.load(path)
    history, target, num_items = data["history"], data["target"], int(data["num_items"])
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    columns = {
        "user": np.ones(len(target), dtype=np.int64),
        "item": target,
        "hist": history,
        "neg_items": rng.integers(1, num_items + 1, (len(target), negatives)),
    }
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

    def loader(rows: slice) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        # Its DataLoader collates sample by sample, which costs it half its speed: hand its trainer
        # ready batches instead, the best that it can get.
        tensors = {name: torch.from_numpy(values[rows]) for name, values in columns.items()}
        parts = {name: values.split(BATCH) for name, values in tensors.items()}
        return [
            (
                {name: part[n] for name, part in parts.items()},
                torch.zeros(len(part), dtype=torch.int64),
            )
            for n, part in enumerate(parts["item"])
        ]

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        trainer.train_one_epoch(loader(slice(0, 40 * BATCH)))  # warm up
        started = time.perf_counter()
        trainer.train_one_epoch(loader(slice(0, 40 * BATCH)))
        rate = 40 * BATCH / (time.perf_counter() - started)
        count = int(min(len(target), max(40 * BATCH, rate * seconds)))
        batches = loader(slice(0, count))
        started = time.perf_counter()
        trainer.train_one_epoch(batches)
        elapsed = time.perf_counter() - started
    print(json.dumps({"samples_per_second": count / elapsed, "samples": count}))


if __name__ == "__main__":
    main()
