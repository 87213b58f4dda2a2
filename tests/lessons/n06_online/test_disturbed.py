"""Faults are the faults that they are called, and HTTP speaks with the same platform."""

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from mindlib.lessons.n06_online import deployment, disturbed
from mindlib.online.serving.platform import PersonalityPlatform
from tests.lessons.n06_online.conftest import CONFIG
from tests.online.serving.world import LOG, Nearest

pytestmark = pytest.mark.slow


def test_a_failing_ranker_leaves_recalls_order_and_a_line_in_the_log(platform, store):
    broken = replace(platform.bundle, ranker=disturbed.Failing())
    shaken = disturbed.broke(store, platform.bundle, broken, CONFIG)
    with closing(shaken), disturbed.logged() as lines:
        answer = shaken.recommend(store.users(1)[0], 5)
    assert answer.order == "recall"
    assert [(f.stage, f.reason) for f in answer.fallbacks] == [("rank", "failed")]
    (line,) = lines
    assert "the ranking service does not answer" in line


def test_a_held_ranker_is_late_and_answers_when_it_is_let_go(platform, store):
    held = disturbed.Held(Nearest(1))
    shaken = disturbed.broke(
        store, platform.bundle, replace(platform.bundle, ranker=held),
        replace(CONFIG, timeouts=replace(deployment.PATIENT, rank=0.05), workers=1),
    )  # fmt: skip
    with closing(shaken):
        late = shaken.recommend(store.users(1)[0], 5)
        assert [(f.stage, f.reason) for f in late.fallbacks] == [("rank", "timeout")]
        assert held.begun.is_set()
        held.released.set()
    scores = held.score(np.array([1]), np.array([4, 2]))
    assert scores.tolist() == [4, 2]


def test_a_held_rule_waits_for_its_release(platform):
    held = disturbed.HeldRule(platform.reranker)
    platform.reranker = held
    answers = []
    user = platform.store.users(1)[0]
    thread = threading.Thread(target=lambda: answers.append(platform.recommend(user, 5)))
    thread.start()
    assert held.begun.wait(20)
    assert not answers
    held.released.set()
    thread.join()
    assert answers[0].fallbacks == ()


def test_an_unreadable_store_still_takes_clicks(platform, store):
    user = store.users(1)[0]
    blind = disturbed.Unreadable(store)
    with closing(PersonalityPlatform(blind, platform.bundle, CONFIG)) as shaken:
        with disturbed.logged():
            assert shaken.recommend(user, 5).order == "popularity"
        shaken.record_click(user, LOG.item_ids[1], 10)
    assert LOG.item_ids[1] in store.recent(user, 1000)


@pytest.mark.enable_socket
def test_over_http_a_click_changes_the_next_answer(platform):
    user = platform.store.users(1)[0]
    with disturbed.served(platform) as client:
        first = client.ask(f"/recommendations/{user}?n=5")
        item = first.content["items"][0]["id"]
        click = client.ask("/clicks", {"user": user, "item": item})
        second = client.ask(f"/recommendations/{user}?n=5")
        wrong = client.ask("/clicks", {"user": user, "item": -1})
    assert (first.status, click.status, second.status, wrong.status) == (200, 201, 200, 422)
    assert item not in [row["id"] for row in second.content["items"]]
    assert first.milliseconds > 0
