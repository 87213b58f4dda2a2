"""Two processes train the model that one trains, and none waits for one that is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import mindlib.training.distributed
from mindlib.training.checkpoints import Checkpoints
from mindlib.training.distributed import SINGLE_PROCESS, Workers, choose_device, join_process_group
from tests.training import distributed_child
from tests.training.distributed_child import CONFIG, SCENARIOS, made_split, train

ROOT = Path(__file__).resolve().parents[2]
CHILD = str(ROOT / "tests" / "training" / "distributed_child.py")
CPU = torch.device("cpu")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="the loopback interface is named as on Linux"
    ),
]


def environment():
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    return os.environ | own


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder in which two processes under torchrun have left what they did."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    address = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr=localhost"]
    done = subprocess.run(
        [*command, *address, CHILD, str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def facts(path):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return json.loads(metadata["log"]), int(metadata["best_epoch"])


def test_the_batches_of_the_scenarios_are_uneven():
    assert len(made_split().train) % CONFIG.batch_size == 1, "one pair left for two processes"


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "mind"])
def test_two_processes_get_the_weights_of_one(together, name):
    model, done = train(made_split(), name)
    start = distributed_child.make(made_split(), SCENARIOS[name][0]).state_dict()
    weights = load_file(together / f"{name}-0.safetensors")
    for key, expected in model.state_dict().items():
        moved = (expected - start[key]).abs().max()
        assert moved > 0.01, key
        assert (weights[key] - expected).abs().max() < 1e-3 * moved, key
    log, best_epoch = facts(together / f"{name}-0.safetensors")
    assert [row[0] for row in log] == [record.step for record in done.log]
    assert [row[1] for row in log] == pytest.approx([r.loss for r in done.log], abs=1e-4)
    assert [row[3] for row in log] == [record.learning_rate for record in done.log]
    assert best_epoch == done.best_epoch


def test_two_processes_bring_mind_to_the_same_loss_as_one(together):
    """They draw other routing logits. Between seeds the mean over the epochs differs by 0.01."""
    _, done = train(made_split(), "mind")
    expected = [record.loss for record in done.log]
    losses = [row[1] for row in facts(together / "mind-0.safetensors")[0]]
    assert losses != expected
    assert np.mean(losses) == pytest.approx(np.mean(expected), abs=0.06)
    for loss in (losses, expected):
        assert loss[0] - loss[-1] > 0.2


@pytest.mark.parametrize("name", [*SCENARIOS, "resumed"])
def test_all_processes_have_the_same_weights(together, name):
    first, second = (load_file(together / f"{name}-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(second[key], value) for key, value in first.items())
    assert facts(together / f"{name}-0.safetensors") == facts(together / f"{name}-1.safetensors")


def test_two_processes_resume_as_if_they_had_not_been_interrupted(together):
    expected = load_file(together / "mind-0.safetensors")
    resumed = load_file(together / "resumed-0.safetensors")
    assert all(torch.equal(resumed[key], value) for key, value in expected.items())
    assert facts(together / "resumed-0.safetensors") == facts(together / "mind-0.safetensors")


def test_only_the_first_process_writes(together):
    assert Checkpoints(together / "checkpoints-0").epochs()
    assert not (together / "checkpoints-1").exists()


def test_what_one_process_refuses_ends_all(together):
    for rank in (0, 1):
        refused = json.loads((together / f"refused-{rank}.json").read_text(encoding="utf-8"))
        assert "negatives=16, not 17" in refused["another configuration"]
        assert "the loss of epoch 1 is nan at step 1 of" in refused["not finite"]


def test_no_thread_of_the_group_is_left_when_the_interpreter_ends(together):
    """One that then frees the tensors of the last exchange aborts the process, now and then."""
    for rank in (0, 1):
        running = json.loads((together / f"threads-{rank}.json").read_text(encoding="utf-8"))
        own = {when: [name for name in names if "gloo" in name] for when, names in running.items()}
        assert own["before"], "the threads have other names now"
        assert not own["after leaving"]


def first_of_two(folder, fault):
    """The exit code of a process whose fellow has `fault`, and what it wrote to stderr."""
    processes = [
        subprocess.Popen(
            [sys.executable, CHILD, str(folder), fault, str(rank), "2"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        _, said = processes[0].communicate(timeout=120)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return processes[0].returncode, said


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_a_process_that_is_gone_ends_the_other_with_an_error(tmp_path, fault):
    started = time.monotonic()
    code, said = first_of_two(tmp_path, fault)
    assert code not in (0, -signal.SIGKILL), said
    assert "RuntimeError" in said or "DistBackendError" in said, said
    assert time.monotonic() - started < 120
    assert Checkpoints(tmp_path / "checkpoints").epochs() == [1], "what was written can be used"


def test_a_process_that_is_left_alone_ends_with_its_own_exit_code(tmp_path):
    code, said = first_of_two(tmp_path, "leaves")
    assert code == distributed_child.OWN_CODE, said
    assert "Traceback" not in said


# In one process


def test_alone_everything_is_as_it_was():
    rows = torch.arange(5)
    assert SINGLE_PROCESS.shard(rows) is rows
    assert SINGLE_PROCESS.run_on_rank_zero(lambda: 7) == 7
    assert join_process_group(CPU) is SINGLE_PROCESS
    table = torch.nn.Parameter(torch.zeros(3, 2))
    SINGLE_PROCESS.sum_gradients(table, [])
    assert table.grad is None


def test_the_parts_of_a_batch_are_even_and_together_the_batch():
    for size in (1, 2, 3, 7):
        for rows in (0, 1, 6, 20):
            parts = [Workers(rank, size).shard(torch.arange(rows)) for rank in range(size)]
            assert torch.equal(torch.cat(parts), torch.arange(rows))
            lengths = [len(part) for part in parts]
            assert max(lengths) - min(lengths) <= 1


def test_a_torchrun_of_one_process_is_alone(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_process_group(CPU) is SINGLE_PROCESS


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(
        ValueError, match=r"device='cuda' cannot be used .* \(lower --nproc-per-node\)"
    ):
        choose_device("cuda")
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert choose_device("cuda") == torch.device("cuda", 99)
    assert choose_device("cpu") == CPU


def test_a_backend_for_gpus_is_refused_on_a_cpu(monkeypatch):
    dist = mindlib.training.distributed.dist
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    with pytest.raises(ValueError, match="device='cpu': the process group has the backend nccl"):
        join_process_group(CPU)
