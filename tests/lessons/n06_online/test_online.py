"""The week of notebook 06, in small: a divided test, verdicts by rule, and places."""

from functools import cache

import numpy as np
import pytest

from mindlib.data import PlantedConfig
from mindlib.lessons.n06_online import online
from mindlib.online.simulation import (
    DYNAMIC_K,
    ITEM_CF,
    YOUTUBE_DNN,
    ArmsConfig,
    Experiment,
    PlantedRanker,
    SlateConfig,
    Week,
    fixed_k,
    run_week,
)
from mindlib.training import TrainingConfig

pytestmark = pytest.mark.slow

WORLD = PlantedConfig(
    num_users=200, num_clusters=10, items_per_cluster=12, max_interests=3, events=(6, 14),
    num_segments=5,
)  # fmt: skip
ARMS = ArmsConfig(
    interests=(1, 2),
    item_cf=False,
    dim=8,
    hidden=(),
    history_length=8,
    training=TrainingConfig(epochs=1, batch_size=128, negatives=16, monitor="Recall@10"),
)


@cache
def played() -> online.Played:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(online, "PAGE", SlateConfig(max_share=0.2, length=5))
        return online.play(WORLD, ARMS, users=150, learners=60, seed=0)


def test_every_arm_plays_the_week_with_every_user():
    found = played()
    assert list(found.week.arms) == [
        YOUTUBE_DNN, fixed_k(1), fixed_k(2), DYNAMIC_K, online.AGAIN, online.POPULARITY,
    ]  # fmt: skip
    assert found.week.members[:, 1:].all()
    assert not found.week.members[:, 0].any()
    assert found.row(fixed_k(2)) == 2
    first, again = (found.arms[name].item_vectors() for name in (YOUTUBE_DNN, online.AGAIN))  # pyright: ignore[reportAttributeAccessIssue]
    assert (first[1:] != again[1:]).any()


def test_the_divided_week_is_the_one_that_would_have_been_counted():
    found = played()
    arms = found.week.arms
    members = Experiment("x", arms).members(found.world.log.user_ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(online, "PAGE", SlateConfig(max_share=0.2, length=5))
        counted = run_week(
            found.traffic, found.arms, PlantedRanker(found.world), online.PAGE, members=members
        )
    ours = online.divided(found.week, members)
    for name in ("members", "impressions", "clicks", "searches"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(counted, name))


def test_information_rises_to_one_and_the_first_days_count_most():
    fractions = online.fractions(played().week, 0)
    assert fractions[-1] == pytest.approx(1)
    assert (np.diff(fractions) > 0).all()
    assert fractions[0] > 1 / 14


def test_looks_are_divided_out_of_the_places():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(online, "PAGE", SlateConfig(max_share=0.2, length=5))
        places = online.by_place(played(), YOUTUBE_DNN)
    np.testing.assert_allclose(places.corrected, places.ctr * np.arange(1, 6))
    assert (np.abs(places.corrected - places.truth) < 5 * places.error + 1e-9).all()
    assert len(places.truth) == 5


def week_of(clicks: dict[str, float], users: int = 400) -> Week:
    """A week of one day, in which each user has ten impressions and about so many clicks."""
    rng = np.random.default_rng(0)
    luck = rng.random(users)
    arms = tuple(clicks)
    counts = np.stack([(luck + c).astype(np.int64) for c in clicks.values()])[:, None]
    searches = {fixed_k(5): 5, fixed_k(7): 7, DYNAMIC_K: 4}
    return Week(
        arms,
        np.ones((len(arms), users), dtype=bool),
        np.full(counts.shape, 10),
        counts,
        np.stack([np.full((1, users), searches.get(a, 1)) for a in arms]),
    )


AS_REPORTED = {
    YOUTUBE_DNN: 1.0, ITEM_CF: 1.2, fixed_k(1): 1.1,
    fixed_k(5): 1.6, fixed_k(7): 1.6, DYNAMIC_K: 1.6,
}  # fmt: skip


def test_a_week_as_the_paper_reports_it_agrees_with_every_finding():
    found = online.findings(week_of(AS_REPORTED))
    assert len(found) == 6
    assert {f.found for f in found} == {"holds here"}


def test_a_reversed_difference_is_reversed_and_none_is_no_finding():
    turned = AS_REPORTED | {ITEM_CF: 0.5, fixed_k(7): 2.2, fixed_k(1): 1.6}
    found = {f.text: f.found for f in online.findings(week_of(turned))}
    assert found["item-based CF is above YouTube DNN"] == "reversed here"
    assert found["7 interests and 5 are comparable"] == "reversed here"
    assert found["dynamic K and 7 interests are comparable"] == "reversed here"
    assert found["5 interests are above 1"] == "inconclusive"


def test_findings_about_absent_arms_are_left_out():
    found = online.findings(week_of({YOUTUBE_DNN: 1.0, fixed_k(1): 1.0, fixed_k(5): 1.5}))
    assert [f.text for f in found] == [
        "MIND with 5 interests is above YouTube DNN",
        "5 interests are above 1",
    ]


@pytest.mark.parametrize(
    ("clicks", "stop"),
    [((1.0, 1.5, 1.5), 5), ((1.0, 1.5, 2.0), 7), ((1.0, 1.0, 1.0), 1), ((1.0, 0.5, 1.5), 7)],
)
def test_more_interests_stop_paying_where_none_above_has_more(clicks, stop):
    week = week_of(dict(zip((fixed_k(1), fixed_k(5), fixed_k(7)), clicks, strict=True)))
    assert online.stops_paying(week, (1, 5, 7)) == stop


def test_searches_saved():
    assert online.saved(week_of(AS_REPORTED), 7) == pytest.approx(3 / 7)
    assert online.saved(week_of(AS_REPORTED), 5) == pytest.approx(1 / 5)


def test_a_loss_is_of_one_arm():
    counts = np.array([100, 200, 300])
    assert online.lost(counts, 1, 0.3).tolist() == [100, 140, 300]
    assert counts.tolist() == [100, 200, 300]


def test_the_worlds_have_more_clusters_than_candidates():
    for world in (online.SEVERAL, online.ONE):
        items = world.num_clusters * world.items_per_cluster
        assert online.PAGE.num_candidates(items) < world.num_clusters
    assert online.ONE.max_interests == 1
