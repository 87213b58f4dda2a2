"""No skew: what is served is what was evaluated, whoever else asks and whenever."""

import dataclasses
import json
import subprocess
import sys
from functools import cache
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mindlib.data import (
    Histories,
    PlantedConfig,
    leave_last_out,
    planted_interests,
)
from mindlib.evaluation import evaluate
from mindlib.layers.routing import RoutingConfig
from mindlib.models import (
    MIND,
    ComiRecSA,
    ComiRecSAConfig,
    MINDConfig,
    YouTubeDNN,
    YouTubeDNNConfig,
)
from mindlib.models.vector_model import VectorModel
from mindlib.online.export import export
from mindlib.online.exported import ExportedModel, measure_skew
from mindlib.retrieval import InterestModel

pytestmark = pytest.mark.slow

M = TypeVar("M", bound=VectorModel)
LENGTH = 12
LOG = planted_interests(PlantedConfig(num_users=200, num_clusters=6), seed=0).log
BARE = dataclasses.replace(LOG, item_features=None, profiles=None)
EXAMPLES = settings(max_examples=20)  # for each of the models
TOLERANCE = 1e-5  # relative; the effects below are a thousand times as large


def mind(log, interests, seed=0, power=2.0, **routing) -> MIND:
    config = MINDConfig.paper(
        dim=16,
        hidden=(24,),
        history_length=LENGTH,
        routing=RoutingConfig.paper(max_interests=interests, **routing),
        power=power,
        evaluation_seed=seed,
    )
    return as_if_trained(MIND(log, config, generator=torch.Generator().manual_seed(seed)))


def as_if_trained(model: M) -> M:
    """Weights so large that routing moves far from its start, and biases that are not zero."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2).add_(0.1 * (weight.dim() == 1))
    return model


def youtube() -> YouTubeDNN:
    config = YouTubeDNNConfig.paper(dim=16, hidden=(), history_length=LENGTH)
    return as_if_trained(YouTubeDNN(LOG, config, generator=torch.Generator().manual_seed(1)))


def found(log, interests=4, recency=False, **routing) -> MIND:
    """Of the form that was found: its start chooses seeds, and its head adds."""
    config = MINDConfig(
        dim=16,
        hidden=(24,),
        history_length=LENGTH,
        routing=RoutingConfig(max_interests=interests, **routing),
        recency=recency,
    )
    model = as_if_trained(MIND(log, config, generator=torch.Generator().manual_seed(5)))
    if recency:
        with torch.no_grad():
            model.recency.copy_(torch.linspace(1, -2, LENGTH))
    return model


def comirec() -> ComiRecSA:
    """As published: without head, and so without the profile that the log has."""
    config = ComiRecSAConfig.paper(dim=16, history_length=LENGTH)
    return as_if_trained(ComiRecSA(LOG, config, generator=torch.Generator().manual_seed(6)))


MODELS = {
    "mind-4": lambda: (mind(LOG, 4), LOG),
    "mind-1": lambda: (mind(LOG, 1, seed=3), LOG),
    "mind-3-all": lambda: (mind(LOG, 3, adaptive=False, gradient="all", iterations=1), LOG),
    "mind-7-behaviors-bare": lambda: (
        mind(BARE, 7, seed=2**32 - 1, sigma=0.5, softmax_over="behaviors"),
        BARE,
    ),
    "youtube-dnn": lambda: (youtube(), LOG),
    "found-4": lambda: (found(LOG), LOG),
    "found-6-bare": lambda: (found(BARE, 6, adaptive=False, iterations=2), BARE),
    "found-4-recency": lambda: (found(LOG, recency=True), LOG),
    "found-4-shrinkage": lambda: (found(LOG, recency=True, shrinkage=True), LOG),
    "comirec-sa": lambda: (comirec(), LOG),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def exports(folder):
    """A model and its export as it is loaded, by name; exported when first asked for."""

    @cache
    def exported(name: str) -> tuple[VectorModel, ExportedModel]:
        model, log = MODELS[name]()
        path = export(model, log, folder / name)
        return model, ExportedModel.load(path)

    return exported


@pytest.fixture(scope="module", params=MODELS)
def pair(request, exports):
    return exports(request.param)


@pytest.fixture(scope="module")
def mind_4(exports):
    return exports("mind-4")


ITEMS = st.integers(1, LOG.num_items)
# Windows that are empty, partly filled, full, and longer than the model sees.
PASTS = st.lists(ITEMS, max_size=LENGTH + 5)
SEGMENTS = st.integers(0, 6)


def pasts_of(exported: ExportedModel, users) -> Histories:
    """Histories of (items, segment) pairs, without the profile where the catalogue knows none."""
    profiles = [[segment] for _, segment in users] if exported.catalogue.fields else None
    return Histories.from_lists([past for past, _ in users], profiles)


def run(exported: ExportedModel, history):
    feed = {name: value.numpy() for name, value in vars(history).items()}
    return [torch.from_numpy(value) for value in exported.session.run(["vectors", "active"], feed)]


def difference(a, b) -> float:
    # A model without head has zeros for a user without behaviours.
    return float((a - b).norm() / b.norm().clamp(min=1e-9))


@EXAMPLES
@given(users=st.lists(st.tuples(PASTS, SEGMENTS), min_size=1, max_size=6))
def test_served_vectors_equal_those_of_evaluation(pair, users):
    model, exported = pair
    assert measure_skew(model, exported, pasts_of(exported, users)) <= TOLERANCE


def test_a_whole_evaluation_comes_out_the_same(pair):
    model, exported = pair
    split = leave_last_out(LOG if exported.catalogue.fields else BARE)
    assert isinstance(exported, InterestModel)
    assert measure_skew(model, exported, split.test.histories) <= TOLERANCE
    torch.testing.assert_close(exported.item_vectors(), model.item_vectors())
    ours, served = (evaluate(m, split.test, (20,)).means() for m in (model, exported))
    assert served == pytest.approx(ours, abs=0.01)  # two scores may be equal but for rounding
    assert served["HitRate@20"] > 0


@EXAMPLES
@given(
    users=st.lists(st.tuples(PASTS, SEGMENTS), min_size=1, max_size=6),
    length=st.integers(1, LENGTH),
)
def test_the_graph_takes_any_batch_and_any_length(pair, users, length):
    model, exported = pair
    history = pasts_of(exported, users).window(length)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    with torch.no_grad():
        ours = model.encode(behaviors, history, generator=None)
    vectors, active = run(exported, history)
    assert torch.equal(active, ours.active)
    assert difference(vectors, ours.vectors) <= TOLERANCE


@EXAMPLES
@given(
    user=st.tuples(PASTS, SEGMENTS),
    others=st.lists(st.tuples(PASTS, SEGMENTS), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_user_depends_on_nobody_else_and_not_on_padding(pair, user, others, data):
    model, exported = pair
    (alone,), (active,) = exported.interests(pasts_of(exported, [user]))
    place = data.draw(st.integers(0, len(others)))
    together, _ = exported.interests(pasts_of(exported, [*others[:place], user, *others[place:]]))
    assert difference(together[place], alone) <= TOLERANCE
    seen = max(1, min(len(user[0]), LENGTH))
    # Weights for each place are as many as places: such a model takes no wider window.
    most = LENGTH if hasattr(model, "positions") else LENGTH + 30
    for length in (seen, LENGTH, most):  # no padding, some, and much
        past = (user[0][-LENGTH:], user[1])
        vectors, same_active = run(exported, pasts_of(exported, [past]).window(length))
        assert torch.equal(same_active[0], active)
        assert difference(vectors[0], alone) <= TOLERANCE


@EXAMPLES
@given(user=st.tuples(PASTS, SEGMENTS), other=st.tuples(PASTS, SEGMENTS))
def test_nothing_is_drawn_and_nothing_kept_between_calls(pair, user, other):
    _, exported = pair
    first, _ = exported.interests(pasts_of(exported, [user]))
    exported.interests(pasts_of(exported, [other]))
    again, _ = exported.interests(pasts_of(exported, [user]))
    assert difference(again, first) <= TOLERANCE


def test_a_new_click_changes_the_vectors_at_once(pair):
    _, exported = pair
    for length in (0, 1, 5, LENGTH, LENGTH + 5):
        past = list(range(1, length + 1))
        before, _ = exported.interests(pasts_of(exported, [(past, 1)]))
        after, _ = exported.interests(pasts_of(exported, [([*past, 99], 1)]))
        assert difference(after, before) > 1000 * TOLERANCE


def test_the_profile_reaches_the_served_vectors(mind_4):
    _, exported = mind_4
    vectors, _ = exported.interests(Histories.from_lists([[1, 2]] * 2, [[1], [2]]))
    assert difference(vectors[1], vectors[0]) > 1000 * TOLERANCE


def test_an_empty_history_is_answered_from_the_profile(pair):
    model, exported = pair
    vectors, active = exported.interests(pasts_of(exported, [([], 1), ([], 2), ([], 1)]))
    assert vectors.isfinite().all()
    assert active.any(1).all()
    assert difference(vectors[2], vectors[0]) <= TOLERANCE
    if model.profile.width:
        assert difference(vectors[1], vectors[0]) > 1000 * TOLERANCE
    lists, scores = exported.recommend(pasts_of(exported, [([], 1)]), 5)
    assert scores.isfinite().all()
    assert (lists > 0).all()


def test_label_aware_attention_is_absent(mind_4, tmp_path):
    """There is no place for a label, every interest comes out, and p changes nothing."""
    soft = mind_4[1]
    argmax = ExportedModel.load(export(mind(LOG, 4, power=float("inf")), LOG, tmp_path / "argmax"))
    assert argmax.manifest["config"] != soft.manifest["config"]
    histories = Histories.from_lists([list(range(1, 11)), [5, 6]], [[1], [2]])
    for exported in (soft, argmax):
        inputs = [entry.name for entry in exported.session.get_inputs()]
        assert inputs == ["items", "mask", "profile"]
    vectors = soft.interests(histories)[0]
    assert difference(argmax.interests(histories)[0], vectors) <= TOLERANCE
    user = vectors[0, :3]
    assert (torch.cdist(user, user)[~torch.eye(3, dtype=torch.bool)] > 0.01 * user.norm()).all()


def test_a_request_is_served_as_the_log_was_evaluated(mind_4):
    model, exported = mind_4
    histories = leave_last_out(LOG).test.histories.select(slice(0, 20))
    assert LOG.profiles is not None
    segments, item_ids = LOG.profiles.names("segment"), LOG.item_ids.tolist()
    rows, items = histories.pairs()
    behaviors = [[item_ids[i] for i in items[rows == row].tolist()] for row in range(20)]
    profiles = [{"segment": segments[user]} for user in histories.users.tolist()]
    expected, _ = model.interests(histories)
    served, _ = exported.interests(exported.catalogue.encode_requests(behaviors, profiles))
    assert difference(served, expected) <= TOLERANCE


def test_an_unknown_item_is_refused_or_dropped(mind_4):
    _, exported = mind_4
    sold_out = [LOG.item_ids[1], "sold out"]
    with pytest.raises(ValueError, match="'sold out'"):
        exported.catalogue.encode_requests([sold_out], [{}])
    kept = exported.catalogue.drop_unknown(sold_out)
    assert len(kept) == len(sold_out) - 1
    vectors, _ = exported.interests(exported.catalogue.encode_requests([kept], [{}]))
    expected, _ = exported.interests(Histories.from_lists([[1]], [[0]]))
    assert difference(vectors, expected) <= TOLERANCE


@pytest.mark.parametrize(
    ("items", "profile", "message"),
    [
        ([LOG.num_items + 1], [[0]], f"item {LOG.num_items + 1}: the model has the items 1 to"),
        ([1], [[7]], r"profile codes \[\[7\]\]: expected 1 columns, each below \(7,\)"),
        ([1], [[0, 0]], r"profile codes \[\[0, 0\]\]: expected 1 columns"),
        ([1], None, r"profile codes \[\[\]\]: expected 1 columns"),
    ],
)
def test_numbers_that_are_not_the_catalogues_are_refused(mind_4, items, profile, message):
    with pytest.raises(ValueError, match=message):
        mind_4[1].interests(Histories.from_lists([items], profile))


SERVER = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/interests.onnx")
items = np.array(json.loads(sys.argv[2]))
feed = {"items": items, "mask": items > 0, "profile": np.array([[1], [2]])}
vectors, active = session.run(["vectors", "active"], feed)
scores = vectors @ np.load(sys.argv[1] + "/items.npy", mmap_mode="r").T
assert not {"torch", "mindlib"} & set(sys.modules)
print(json.dumps([vectors.tolist(), active.tolist(), scores.shape]))
"""


def test_a_server_needs_neither_torch_nor_mindlib(mind_4, folder):
    model, _ = mind_4
    command = [
        sys.executable,
        "-c",
        SERVER,
        str(folder / "mind-4"),
        "[[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    vectors, active, shape = json.loads(done.stdout)
    expected, expected_active = model.interests(
        Histories.from_lists([[1, 2, 3, 4, 5], [6]], [[1], [2]])
    )
    assert difference(torch.tensor(vectors), expected) <= TOLERANCE
    assert active == expected_active.tolist()
    assert shape == [2, 4, LOG.num_items + 1]
