"""Trains in processes that are killed; run by test_checkpoints_killed.py, prints JSON.

    python -m tests.training.checkpoint_child FOLDER every-event|random-moments

The processes are forked, so that what is imported is imported once. This one trains nothing
itself: autograd must not have run before a fork.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # by torch.optim, at the first step: a second in each child otherwise

import mindlib.data.tensor_file
import mindlib.training.fitting
from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig
from mindlib.training import TrainingConfig, fit
from mindlib.training.checkpoints import Checkpoints

EPOCHS, STEPS = 3, 2
RANDOM_SEED = 20190419


def train(folder: Path, log: Path) -> None:
    """What a user's script does: the same call, whether there are checkpoints or not."""
    config = PlantedConfig(num_users=40, num_clusters=4, items_per_cluster=6, num_segments=2)
    split = leave_last_out(planted_interests(config, seed=0).log)
    model = MIND(
        split.log,
        MINDConfig.paper(
            dim=8, hidden=(8,), history_length=6, routing=RoutingConfig.paper(max_interests=2)
        ),
        generator=torch.Generator().manual_seed(0),
    )
    size = -(-len(split.train) // STEPS)
    training = TrainingConfig(
        epochs=EPOCHS, batch_size=size, negatives=8, monitor="Recall@5", schedule="cosine"
    )
    done = fit(model, split, training, device="cpu", progress=False, checkpoints=folder)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    records = [(r.epoch, r.step, r.loss, r.metrics, r.learning_rate) for r in done.log]
    log.write_text(json.dumps([weights, records, done.best_epoch]), encoding="utf-8")


def forked(call: Callable[[], None]) -> int:
    """The process id of a child that makes the call and ends."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Events:
    """Counts the steps, and all that training does to the folder; dies just before one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal, self.names = fatal, []
        tensor_file: Any = mindlib.data.tensor_file
        save = tensor_file.save_file

        def save_in_pieces(tensors: Any, path: Path, metadata: Any) -> None:
            save(tensors, path, metadata)
            whole = path.read_bytes()
            for share in (0, len(whole) // 3, len(whole) - 1):
                path.write_bytes(whole[:share])
                self.happens(f"{share} bytes")
            path.write_bytes(whole)

        tensor_file.save_file = save_in_pieces
        self.watch(os, "replace")
        self.watch(os, "fsync")
        self.watch(Path, "unlink")
        self.watch(Path, "mkdir")
        self.watch(Path, "touch")
        self.watch(mindlib.training.fitting, "training_step")

    def watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self.happens(name)
            return original(*arguments, **options)

        setattr(owner, name, watched)

    def happens(self, name: str) -> None:
        if len(self.names) == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)


def every_event(home: Path) -> dict[str, Any]:
    """Kill at each event in turn, then train on without harm."""

    def dry() -> None:
        events = Events(None)
        train(home / "dry", home / "expected.json")
        (home / "events.json").write_text(json.dumps(events.names), encoding="utf-8")

    assert status(forked(dry)) == 0
    names = json.loads((home / "events.json").read_text(encoding="utf-8"))
    expected = (home / "expected.json").read_text(encoding="utf-8")
    outcomes = []
    for fatal, name in enumerate(names):
        folder, log = home / f"killed-{fatal}", home / f"killed-{fatal}.json"

        def die(fatal: int = fatal, folder: Path = folder, log: Path = log) -> None:
            Events(fatal)
            train(folder, log)

        killed = status(forked(die))
        left = Checkpoints(folder).epochs()
        went_on = status(forked(lambda folder=folder, log=log: train(folder, log)))
        begun = names[:fatal].count("training_step")
        outcomes.append(
            {
                "event": name,
                "killed": killed,
                "epochs_begun": -(-begun // STEPS),
                "newest": max(left, default=0),
                "went_on": went_on,
                "equal": went_on == 0 and log.read_text(encoding="utf-8") == expected,
                "rest": sorted(path.name for path in folder.iterdir() if path.name[0] == "."),
            }
        )
    return {"events": names, "outcomes": outcomes}


def random_moments(home: Path) -> dict[str, Any]:
    """Kill at moments drawn at random, until one training is through."""
    expected = home / "expected.json"
    started = time.perf_counter()
    assert status(forked(lambda: train(home / "dry", expected))) == 0
    whole = time.perf_counter() - started
    luck = random.Random(RANDOM_SEED)
    outcomes = []
    for number in range(6):
        folder, log = home / f"run-{number}", home / f"run-{number}.json"
        newest, kills, code = [0], 0, -1
        while code:
            child = forked(lambda folder=folder, log=log: train(folder, log))
            # The more often it was killed, the longer it gets, so that it ends some time.
            time.sleep(luck.uniform(0, whole * (1 + kills / 10)))
            os.kill(child, signal.SIGKILL)
            code = status(child)
            assert code in (0, -signal.SIGKILL), code
            kills += code != 0
            newest.append(max(Checkpoints(folder).epochs(), default=0))
        equal = log.read_text(encoding="utf-8") == expected.read_text(encoding="utf-8")
        outcomes.append({"kills": kills, "newest": newest, "equal": equal})
    return {"outcomes": outcomes}


if __name__ == "__main__":
    modes = {"every-event": every_event, "random-moments": random_moments}
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as home:
        json.dump(modes[sys.argv[2]](Path(home)), sys.stdout)
