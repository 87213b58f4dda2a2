"""SASRec against its blocks in NumPy, and its dropout."""

import numpy as np
import polars as pl
import pytest
import torch

from mindlib.data import Histories, Interactions, planted_interests
from mindlib.models import SASRec, SASRecConfig
from tests.models.compared import LENGTH, SMALL, WORLD, build

PAST = [3, 1, 4, 15, 9]


@pytest.fixture(scope="module")
def log():
    return planted_interests(WORLD, seed=0).log


def normed(x, weights, name):
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def by_hand(model, past):
    """The state of the last position: embeddings, two pre-norm blocks, a last norm."""
    weights = {name: value.double().numpy() for name, value in model.blocks.state_dict().items()}
    n, dim = len(past), model.config.dim
    items, positions = model.item_vectors().double().numpy(), model.positions.detach().numpy()
    x = np.stack(
        [items[item] * dim**0.5 + positions[n - 1 - place] for place, item in enumerate(past)]
    )
    for number in range(model.config.layers):
        at = f"layers.{number}"
        h = normed(x, weights, f"{at}.norm1")
        joint = h @ weights[f"{at}.self_attn.in_proj_weight"].T
        joint += weights[f"{at}.self_attn.in_proj_bias"]
        out = np.zeros((n, dim))
        q, k, v = np.split(joint, 3, axis=1)
        for place in range(n):
            scores = q[place] @ k[: place + 1].T / dim**0.5
            share = np.exp(scores - scores.max())
            out[place] = share / share.sum() @ v[: place + 1]
        x = x + out @ weights[f"{at}.self_attn.out_proj.weight"].T
        x = x + weights[f"{at}.self_attn.out_proj.bias"]
        h = normed(x, weights, f"{at}.norm2")
        h = np.maximum(h @ weights[f"{at}.linear1.weight"].T + weights[f"{at}.linear1.bias"], 0)
        x = x + h @ weights[f"{at}.linear2.weight"].T + weights[f"{at}.linear2.bias"]
    return normed(x, weights, "norm")[-1]


def test_the_user_vector_equals_the_blocks_by_hand(log):
    model = SASRec(log, SASRecConfig.paper(**SMALL), generator=torch.Generator().manual_seed(0))
    histories = Histories.from_lists([PAST, PAST[:2], list(range(1, LENGTH + 1))], [[1]] * 3)
    vectors, active = model.interests(histories)
    for row, past in enumerate((PAST, PAST[:2], list(range(1, LENGTH + 1)))):
        assert vectors[row, 0].tolist() == pytest.approx(by_hand(model, past).tolist(), abs=1e-4)
    assert active.tolist() == [[True]] * 3


def test_training_drops_and_evaluation_does_not_whatever_the_mode(log):
    model = build("sasrec", log)
    histories = Histories.from_lists([PAST] * 200, [[1]] * 200)
    history = histories.window(LENGTH)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    for mode in (True, False):
        model.train(mode)
        fixed = model.encode(behaviors, history, generator=None).vectors
        torch.testing.assert_close(fixed[1:], fixed[:-1])
        drawn = model.encode(behaviors, history, generator=torch.Generator().manual_seed(0)).vectors
        assert drawn.std(0).mean() > 0.05


def test_without_dropout_training_and_evaluation_are_one(log):
    config = SASRecConfig.paper(dropout=0.0, **SMALL)
    model = SASRec(log, config, generator=torch.Generator().manual_seed(0))
    history = Histories.from_lists([PAST], [[1]]).window(LENGTH)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    fixed, drawn = (
        model.encode(behaviors, history, generator=g).vectors
        for g in (None, torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(fixed, drawn)


def test_behaviors_come_in_the_order_of_time_whatever_the_order_of_the_log():
    rows = pl.DataFrame(
        {"user": [1, 2, 1, 1, 2], "item": [30, 20, 10, 20, 10], "timestamp": [9, 5, 1, 4, 2]}
    )
    log = Interactions.from_frames(rows)
    ends = torch.from_numpy(log.offsets[2:])
    histories = Histories(
        items=torch.from_numpy(log.items),
        starts=torch.from_numpy(log.offsets[1:-1]),
        ends=ends,
        users=torch.tensor([1, 2]),
        profiles=torch.zeros((3, 0), dtype=torch.int64),
    )
    items = [[log.item_ids[i] for i in row if i] for row in histories.window(3).items.tolist()]
    assert items == [[10, 20, 30], [10, 20]]
