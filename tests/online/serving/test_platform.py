"""From a user's id to her list: the stages in order, and what stands in where one is missing."""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from mindlib.data import Catalogue, Histories
from mindlib.online.serving.database import StoreError
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import Fallback, PlatformConfig, Slate, Timeouts
from mindlib.online.serving.store import InvalidRequest
from mindlib.retrieval import ExactIndex, IndexRecommender
from tests.conftest import unchecked
from tests.online.serving.conftest import NO_TIMEOUTS
from tests.online.serving.world import LOG, SPLIT, Scored, nearest

pytestmark = pytest.mark.slow

USER = LOG.user_ids[1]
NOBODY = "nobody"
HANGS = 0.05  # the budget of a stage that never answers in time


def history_of(user: int = 1) -> set[object]:
    return set(LOG.item_ids[LOG.items[LOG.offsets[user] : LOG.offsets[user + 1]]].tolist())


class Release:
    """Lets hanging stages go when a test ends."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def wait(self, *args: object, **options: object) -> None:
        self.event.wait(30)


@pytest.fixture
def hang():
    release = Release()
    yield release
    release.event.set()


def broken(*args: object, **options: object) -> None:
    raise RuntimeError("a secret path")


class Faulty:
    """A part whose methods are replaced; the rest is the part's own."""

    def __init__(self, part: object, **methods: object) -> None:
        vars(self).update(methods)
        self._part = part

    def __getattr__(self, name: str) -> object:
        return getattr(self._part, name)


# --- all is well -------------------------------------------------------------------------------


def test_a_user_is_shown_what_recall_finds_in_the_rankers_order(make):
    answer = make().recommend(USER, 100)
    assert answer.fallbacks == ()
    assert answer.order == "ranking"
    assert answer.version == "one"
    assert len(answer.items) == len(set(answer.items)) == 100
    assert not set(answer.items) & history_of()


def test_scores_go_with_their_items(make, bundle):
    answer = make(category_share=1.0).recommend(USER, 20)
    numbers = bundle.catalogue.encode_items(answer.items)
    assert list(answer.scores) == numbers == sorted(numbers, reverse=True)
    assert answer.titles == tuple(LOG.label(number) for number in numbers)


def test_without_a_ranker_the_list_is_that_of_evaluation(make, bundle):
    """What is served is what was judged: the model with its index, for the same past."""
    behaviors = LOG.items[LOG.offsets[1] : LOG.offsets[2]].tolist()
    assert LOG.profiles is not None
    histories = Histories.from_lists([behaviors], [LOG.profiles.codes[1].tolist()])
    expected = IndexRecommender(bundle.model, bundle.index).recommend(histories, 20)
    answer = make(replace(bundle, ranker=None), category_share=1.0).recommend(USER, 20)
    assert bundle.catalogue.encode_items(answer.items) == expected.items[0].tolist()
    assert answer.scores == pytest.approx(expected.scores[0].tolist(), rel=1e-4)
    assert answer.fallbacks == (Fallback("rank", "absent", "recall order"),)


def test_each_item_names_the_interest_that_scores_it_best(make, bundle):
    answer = make().recommend(USER, 50)
    numbers = bundle.catalogue.encode_items(answer.items)
    behaviors = LOG.items[LOG.offsets[1] : LOG.offsets[2]]
    assert LOG.profiles is not None
    vectors = bundle.extract(behaviors, LOG.profiles.codes[1])
    assert len(vectors) > 1
    best = (bundle.model.item_vectors()[numbers] @ vectors.T).argmax(1)
    assert list(answer.interests) == best.tolist()
    assert len(set(answer.interests)) > 1


def test_the_stages_are_timed(make):
    answer = make().recommend(USER, 5)
    stages = ["store", "extract", "recall", "rank", "rerank"]
    assert list(answer.milliseconds) == [*stages, "total"]
    assert all(value > 0 for value in answer.milliseconds.values())
    assert sum(answer.milliseconds[s] for s in stages) <= answer.milliseconds["total"]


def test_a_category_has_no_more_than_its_share(make, bundle):
    answer = make(category_share=0.4).recommend(USER, 10)
    kinds = bundle.categories[bundle.catalogue.encode_items(answer.items)]
    assert np.bincount(kinds).max() <= 4


@pytest.mark.parametrize("n", [1, 7, 100, None])
def test_so_many_items_as_asked_for(make, n):
    assert len(make().recommend(USER, n).items) == (n or 100)


# --- clicks ------------------------------------------------------------------------------------


def test_a_click_changes_the_next_answer(make):
    platform = make()
    before = platform.recommend(USER, 100)
    clicked = before.items[0]
    platform.record_click(USER, clicked, 10**9)
    after = platform.recommend(USER, 100)
    assert clicked not in after.items


def test_a_click_moves_the_interests(make, bundle):
    """Not only is the clicked item left out: the others' scores are of other vectors."""
    platform = make(replace(bundle, ranker=None))
    before = platform.recommend(USER, 50)
    platform.record_click(USER, before.items[-1], 10**9)
    after = platform.recommend(USER, 50)
    both = set(before.items) & set(after.items)
    scores = [dict(zip(a.items, a.scores, strict=True)) for a in (before, after)]
    assert all(abs(scores[0][item] - scores[1][item]) > 1e-6 for item in both)


def test_with_her_first_click_a_stranger_is_known(make):
    platform = make()
    assert platform.recommend(NOBODY, 5).order == "popularity"
    platform.record_click(NOBODY, LOG.item_ids[3], 1)
    answer = platform.recommend(NOBODY, 5)
    assert (answer.order, answer.fallbacks) == ("ranking", ())


def test_a_refused_click_changes_nothing(make):
    platform = make()
    before = platform.recommend(USER, 10)
    with pytest.raises(InvalidRequest):
        platform.record_click(USER, 10**6, 1)
    with pytest.raises(InvalidRequest):
        platform.record_click(USER, before.items[0], int(time.time()) + 3600)
    assert platform.recommend(USER, 10).items == before.items
    assert 'mindlib_clicks_total{outcome="refused"} 2.0' in platform.metrics.render()


def test_an_item_that_only_the_shop_knows_yet_does_not_disturb(make, store):
    platform = make()
    before = platform.recommend(USER, 10)
    store.add_items([10**6])
    platform.record_click(USER, 10**6, 10**9)
    after = platform.recommend(USER, 10)
    assert (after.items, after.scores) == (before.items, before.scores)


# --- users of whom little is known -------------------------------------------------------------


def test_a_stranger_gets_what_is_popular(make):
    answer = make(category_share=1.0).recommend(NOBODY, 10)
    assert answer.fallbacks == (Fallback("extract", "no behaviors", "popularity"),)
    assert answer.order == "popularity"
    counts = [int(SPLIT.train_counts[n]) for n in np.argsort(-SPLIT.train_counts[1:])[:10] + 1]
    assert list(answer.scores) == counts
    assert set(answer.interests) == {None}


def test_a_stranger_with_a_profile_is_answered_from_it(make, store, bundle):
    platform = make(category_share=1.0)
    store.set_profile(NOBODY, {"segment": "segment 2"})
    answer = platform.recommend(NOBODY, 10)
    assert answer.order == "recall"
    assert answer.fallbacks == (
        Fallback("extract", "no behaviors", "profile"),
        Fallback("rank", "no behaviors", "recall order"),
    )
    code = bundle.catalogue.encode_profile({"segment": "segment 2"})
    histories = Histories.from_lists([[]], [code])
    expected = IndexRecommender(bundle.model, bundle.index).recommend(histories, 10)
    assert bundle.catalogue.encode_items(answer.items) == expected.items[0].tolist()


@pytest.mark.parametrize("profile", [{"segment": "segment 99"}, {"colour": "blue"}, {}])
def test_a_profile_that_the_version_cannot_read_is_none(make, store, profile):
    store.set_profile(NOBODY, profile)
    assert make().recommend(NOBODY, 10).order == "popularity"


def test_behaviours_that_the_version_does_not_know_are_none(make, store):
    store.add_items(["new"])
    store.append(NOBODY, "new", 1)
    answer = make().recommend(NOBODY, 10)
    assert answer.fallbacks == (Fallback("extract", "no behaviors", "popularity"),)


# --- stages that fail or are late --------------------------------------------------------------

CAUSES = ["failed", "timeout"]
RULE = "mindlib.online.serving.platform.rerank"


def faulty(bundle, stage: str, fault):
    """The version with a fault in one of its stages."""
    if stage == "extract":
        return replace(bundle, model=Faulty(bundle.model, interests=fault))
    if stage == "recall":
        index = copy.copy(bundle.index)
        vars(index)["best"] = fault
        return replace(bundle, index=index)
    if stage == "rank":
        return replace(bundle, ranker=Scored(fault))
    return bundle


@pytest.fixture
def ask(make, bundle, hang, monkeypatch, store):
    """A platform one of whose stages is out of order from the start (which `use` would refuse)."""
    monkeypatch.setattr("mindlib.online.serving.platform._warm_up", lambda *_: None)

    def build(stage: str, reason: str) -> PersonalityPlatform:
        timeouts = replace(NO_TIMEOUTS, **{stage: HANGS}) if reason == "timeout" else NO_TIMEOUTS
        fault = broken if reason == "failed" else hang.wait
        if stage == "store":
            monkeypatch.setattr(store, "recent", fault)
        elif stage == "rerank":
            monkeypatch.setattr(RULE, fault)
        return make(faulty(bundle, stage, fault), timeouts=timeouts)

    return build


@pytest.mark.parametrize("reason", CAUSES)
@pytest.mark.parametrize("stage", ["extract", "recall"])
def test_without_interests_or_recall_popularity_stands_in(ask, stage, reason):
    answer = ask(stage, reason).recommend(USER, 10)
    assert answer.fallbacks == (Fallback(stage, reason, "popularity"),)
    assert answer.order == "popularity"
    assert len(answer.items) == 10
    assert not set(answer.items) & history_of()


def test_with_the_rule_down_too_nothing_is_shown_that_she_has(ask, monkeypatch):
    """The rule would leave it out as well, and is not there to do so."""
    platform = ask("recall", "failed")
    monkeypatch.setattr(RULE, broken)
    everything = platform.bundle.recall_popular(np.zeros(0, dtype=np.int64), 100)
    ids = platform.bundle.catalogue.item_ids
    assert {ids[item - 1] for item in everything.items.tolist()} & history_of()
    answer = platform.recommend(USER, 100)
    assert [fallback.stage for fallback in answer.fallbacks] == ["recall", "rerank"]
    assert not set(answer.items) & history_of()


@pytest.mark.parametrize("reason", CAUSES)
def test_without_the_store_popularity_stands_in(ask, reason):
    answer = ask("store", reason).recommend(USER, 10)
    assert answer.fallbacks == (Fallback("store", reason, "popularity"),)
    assert len(answer.items) == 10


@pytest.mark.parametrize("reason", CAUSES)
def test_without_ranking_recalls_order_stands(ask, make, bundle, reason):
    answer = ask("rank", reason).recommend(USER, 10)
    assert answer.fallbacks == (Fallback("rank", reason, "recall order"),)
    assert answer.order == "recall"
    assert answer.items == make(replace(bundle, ranker=None)).recommend(USER, 10).items


@pytest.mark.parametrize("reason", CAUSES)
def test_without_the_rule_the_first_are_shown(ask, make, reason):
    expected = make(category_share=1.0).recommend(USER, 10).items
    answer = ask("rerank", reason).recommend(USER, 10)
    assert answer.fallbacks == (Fallback("rerank", reason, "first n"),)
    assert answer.items == expected


def test_the_log_says_what_the_answer_keeps_to_itself(ask, caplog):
    answer = ask("rank", "failed").recommend(USER, 10)
    assert "a secret path" in caplog.text
    assert "a secret path" not in repr(answer)


def test_the_caller_is_late_by_no_more_than_the_budget(ask):
    platform = ask("rank", "timeout")
    platform.recommend(USER, 10)
    answer = platform.recommend(USER, 10)
    assert 1e3 * HANGS <= answer.milliseconds["rank"] < 1e3 * 10


def test_a_hanging_stage_takes_no_other_down(ask):
    """All workers of the ranker hang: nothing piles up, and the other stages go on."""
    platform = ask("rank", "timeout")
    answers = [platform.recommend(USER, 10) for _ in range(6)]
    assert {answer.fallbacks for answer in answers} == {
        (Fallback("rank", "timeout", "recall order"),)
    }
    assert threading.active_count() < 40


def test_a_stage_that_has_recovered_is_asked_again(ask, hang):
    platform = ask("rank", "timeout")
    platform.bundle = replace(
        platform.bundle,
        ranker=Scored(lambda b, c: hang.wait() or nearest().score(b, c)),
    )
    for _ in range(4):
        assert platform.recommend(USER, 10).fallbacks
    hang.event.set()
    deadline = time.monotonic() + 20
    while platform.recommend(USER, 10).fallbacks:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_fallbacks_are_counted(ask):
    platform = ask("recall", "failed")
    for _ in range(3):
        platform.recommend(USER, 10)
    line = 'mindlib_fallbacks_total{fallback="popularity",reason="failed",stage="recall"} 3.0'
    assert line in platform.metrics.render()


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 101, 10**9])
def test_n_out_of_range_is_refused(make, n):
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 100"):
        make().recommend(USER, n)


def test_an_absurd_user_is_refused(make):
    platform = make()
    for user in (-1, "", "x" * 200):
        with pytest.raises(InvalidRequest):
            platform.recommend(user, 10)


def test_a_locked_store_refuses_the_click_and_answers_on(make, store):
    platform = make()
    with store._connection() as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            platform.record_click(USER, LOG.item_ids[1], 1)
        assert platform.recommend(USER, 10).fallbacks == ()
        other.execute("ROLLBACK")
    assert 'mindlib_clicks_total{outcome="unavailable"} 1.0' in platform.metrics.render()


def test_a_closed_store_leaves_popularity(make, store):
    platform = make()
    store.close()
    with pytest.raises(StoreError):
        platform.record_click(USER, LOG.item_ids[1], 1)
    answer = platform.recommend(USER, 10)
    assert answer.fallbacks == (Fallback("store", "failed", "popularity"),)


def test_configurations_that_make_no_sense_are_refused():
    for options in ({"store": 0.0}, {"rank": float("nan")}, {"recall": 61.0}):
        with pytest.raises(ValueError, match=r"expected (1e-06 to 60|a number)"):
            unchecked(Timeouts, **options)
    for name in ("max_slate_size", "max_history", "workers"):
        with pytest.raises(ValueError, match=f"{name}=0: expected 1 to"):
            unchecked(PlatformConfig, **{name: 0})
    with pytest.raises(ValueError, match="max_candidates=50: expected at least max_slate_size=100"):
        PlatformConfig(max_candidates=50)
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"category_share=.*: expected (1e-06 to 1|a number)"):
            unchecked(PlatformConfig, category_share=share)


# --- another version ---------------------------------------------------------------------------


def test_the_next_request_is_answered_by_the_new_version(make, versions):
    one, two = versions
    platform = make(one, category_share=1.0)
    first = platform.recommend(USER, 10)
    platform.use(two)
    second = platform.recommend(USER, 10)
    assert (first.version, second.version) == ("one", "two")
    assert second.items != first.items
    text = platform.metrics.render()
    assert 'mindlib_version_info{version="two"} 1.0' in text
    assert 'version="one"' not in text


def test_a_request_that_runs_ends_on_its_own_version(make, versions, hang):
    one, two = versions
    began = threading.Event()

    def slow(behaviors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        if began.is_set():
            return nearest().score(behaviors, candidates)
        began.set()
        hang.wait()
        return nearest().score(behaviors, candidates)

    began.set()
    platform = make(replace(one, ranker=Scored(slow)), category_share=1.0)
    expected = platform.recommend(USER, 10)
    began.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(platform.recommend, USER, 10)
        assert began.wait(20)
        platform.use(two)
        assert platform.recommend(USER, 10).version == "two"
        hang.event.set()
        answer = running.result(20)
    assert answer.version == "one"
    assert (answer.items, answer.scores) == (expected.items, expected.scores)


def test_versions_are_swapped_under_load_without_a_mixed_answer(make, versions):
    """Ranker one counts up and two down; an answer of both would show it."""
    platform = make(versions[0])
    right = {}
    for bundle in versions:
        platform.use(bundle)
        right[bundle.version] = platform.recommend(USER, 10)
    done = threading.Event()

    def client(_: int) -> list[Slate]:
        answers = []
        while not done.is_set():
            answers.append(platform.recommend(USER, 10))
        return answers

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, n) for n in range(3)]
        for n in range(30):
            platform.use(versions[n % 2])
        done.set()
        answers = [answer for client in clients for answer in client.result()]
    assert {answer.version for answer in answers} == {"one", "two"}
    for answer in answers:
        expected = right[answer.version]
        assert (answer.items, answer.scores) == (expected.items, expected.scores)
        assert answer.fallbacks == ()


def test_of_two_swaps_at_once_the_metrics_name_the_one_that_serves(make, versions, monkeypatch):
    one, two = versions
    platform = make(one)
    tell, told, second = platform.metrics.record_swap, threading.Event(), threading.Event()

    def slow(version: str) -> None:
        if version == "one":  # between its assignment and its metric there is time for another
            told.set()
            second.wait(0.5)
        tell(version)

    monkeypatch.setattr(platform.metrics, "record_swap", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(platform.use, one)
        assert told.wait(20)
        platform.use(two)
        second.set()
        first.result(20)
    assert (
        f'mindlib_version_info{{version="{platform.bundle.version}"}}' in platform.metrics.render()
    )


def test_a_version_that_cannot_answer_does_not_take_over(make, versions):
    one, two = versions
    platform = make(one)
    with pytest.raises(RuntimeError, match="a secret path"):
        platform.use(replace(two, model=Faulty(two.model, interests=broken)))
    assert platform.recommend(USER, 10).version == "one"


def test_a_version_of_another_catalogue_numbers_the_same_ids_its_own_way(make, bundle):
    """The store keeps the shop's ids; in this version the items have other numbers."""
    order = np.r_[0, 1 + np.random.default_rng(0).permutation(LOG.num_items)]
    vectors = bundle.model.item_vectors()[order]

    def interests(histories):
        old = order[histories.items.numpy()].tolist()
        return bundle.model.interests(Histories.from_lists([old], histories.profiles[1:].tolist()))

    moved = replace(
        bundle,
        catalogue=Catalogue(
            tuple(bundle.catalogue.item_ids[i - 1] for i in order[1:]),
            bundle.catalogue.fields,
            bundle.catalogue.vocabularies,
        ),
        model=Faulty(bundle.model, interests=interests, item_vectors=lambda: vectors),
        index=ExactIndex.build(vectors[1:], torch.arange(1, len(vectors))),
        counts=bundle.counts[order],
        titles=tuple(bundle.titles[i] for i in order),
        ranker=None,
    )
    expected = make(replace(bundle, ranker=None), category_share=1.0).recommend(USER, 20)
    answer = make(moved, category_share=1.0).recommend(USER, 20)
    assert (answer.items, answer.titles) == (expected.items, expected.titles)
