"""Over HTTP: what is valid is answered, what is not is refused in plain words."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mindlib.online.serving.app import MAX_BODY_BYTES, create_app
from tests.online.serving.conftest import NO_TIMEOUTS
from tests.online.serving.test_platform import HANGS, USER, broken
from tests.online.serving.world import LOG, Scored
from tests.reliability import behaves

pytestmark = pytest.mark.slow

ITEM = LOG.item_ids[1]
TRACES = ("Traceback", 'File "', ".py", "secret", "sqlite")


@pytest.fixture
def platform(make):
    return make()


@pytest.fixture
def client(platform):
    with TestClient(create_app(platform), raise_server_exceptions=True) as client:
        yield client


def post(client: TestClient, content: bytes | Iterator[bytes]) -> httpx2.Response:
    """Post bytes that call themselves JSON."""
    return client.post("/clicks", content=content, headers={"Content-Type": "application/json"})


def refused(response, status: int) -> str:
    """The message of an error, which is all there is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert content.keys() == {"error"}
    assert not any(trace in content["error"] for trace in TRACES)
    assert len(content["error"]) < 500
    return content["error"]


# --- answers -----------------------------------------------------------------------------------


def test_a_users_list(client, platform):
    content = client.get(f"/recommendations/{USER}?n=7").json()
    expected = platform.recommend(USER, 7)
    assert content.keys() == {"user", "items", "order", "version", "milliseconds", "fallbacks"}
    assert content["user"] == str(USER)
    assert content["version"] == "one"
    assert content["items"] == [
        {"id": item, "title": title, "score": score, "interest": interest}
        for item, title, score, interest in zip(
            expected.items, expected.titles, expected.scores, expected.interests, strict=True
        )
    ]
    assert content["fallbacks"] == []
    stages = {"store", "extract", "recall", "rank", "rerank", "total"}
    assert content["milliseconds"].keys() == stages


def test_without_n_the_list_is_as_long_as_can_be(client):
    assert len(client.get(f"/recommendations/{USER}").json()["items"]) == 100


def test_a_stranger_is_answered_and_told_why(client):
    content = client.get("/recommendations/nobody?n=3").json()
    assert len(content["items"]) == 3
    why = {"stage": "extract", "reason": "no behaviors", "fallback": "popularity"}
    assert content["fallbacks"] == [why]


def test_an_id_may_have_any_letters(client, store):
    name = "ann/é b"
    assert client.post("/clicks", json={"user": name, "item": ITEM}).status_code == 201
    content = client.get("/recommendations/ann%2F%C3%A9%20b?n=3").json()
    assert (content["user"], content["order"]) == (name, "ranking")


def test_a_click_changes_the_next_answer(client, store):
    before = client.get(f"/recommendations/{USER}?n=100").json()
    item = before["items"][0]["id"]
    now = int(time.time())
    response = client.post("/clicks", json={"user": USER, "item": item})
    assert response.status_code == 201
    stored = response.json()
    assert (stored["user"], stored["item"], stored["version"]) == (USER, item, "one")
    assert now <= stored["time"] <= now + 60
    assert store.recent(USER, 1) == [item]
    after = client.get(f"/recommendations/{USER}?n=100").json()
    assert item not in [row["id"] for row in after["items"]]


def test_a_click_of_the_past_is_put_in_its_place(client, store):
    first, *later = store.recent(USER, 10_000)
    client.post("/clicks", json={"user": USER, "item": ITEM, "time": 30})
    assert store.recent(USER, 10_000) == [first, ITEM, *later]


def test_another_version_is_in_the_next_answer(client, platform, versions):
    platform.use(versions[1])
    assert client.get(f"/recommendations/{USER}").json()["version"] == "two"
    assert client.get("/health").json()["version"] == "two"


def test_health(client, store):
    assert client.get("/health").json() == {"status": "ok", "store": "ok", "version": "one"}
    store.close()
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "store": "unavailable", "version": "one"}


def test_health_and_clicks_notice_that_the_file_was_deleted(client, store):
    store.path.unlink()
    assert client.get("/health").json()["status"] == "degraded"
    response = client.post("/clicks", json={"user": USER, "item": ITEM})
    assert refused(response, 503) == "the click could not be stored now; try again"
    assert not store.path.exists()
    assert client.get(f"/recommendations/{USER}?n=5").json()["items"]
    behaves(
        "Serving",
        "the store's file is deleted or replaced while the server runs",
        "503 for clicks, /health is degraded, the server's log names the remedy",
    )


def test_health_and_clicks_notice_a_full_disk(client, store):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        health = client.get("/health").json()
        click = client.post("/clicks", json={"user": USER, "item": ITEM})
        read = client.get(f"/recommendations/{USER}?n=5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert health["status"] == "degraded"
    refused(click, 503)
    assert read.json()["fallbacks"] == []
    assert client.get("/health").json()["status"] == "ok"
    behaves(
        "Serving",
        "the disk of the store is full",
        "503 for clicks, /health is degraded, recommendations work as before",
    )


def test_a_click_that_is_sent_again_is_stored_once(client, store):
    before = len(store.recent(USER, 10_000))
    click = {"user": USER, "item": ITEM, "key": "c-1"}
    first, second = (client.post("/clicks", json=click) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert len(store.recent(USER, 10_000)) == before + 1
    other = client.post("/clicks", json=click | {"item": LOG.item_ids[2]})
    assert "choose a new key for each click" in refused(other, 422)


def test_health_does_not_wait_for_a_store_that_hangs(make, store, monkeypatch):
    monkeypatch.setattr(store, "check", lambda: time.sleep(1))
    platform = make(timeouts=replace(NO_TIMEOUTS, store=HANGS))
    with TestClient(create_app(platform)) as client:
        assert client.get("/health").json()["status"] == "degraded"


def test_health_has_an_answer_whatever_the_store_does(make, store, monkeypatch):
    monkeypatch.setattr(store, "check", broken)
    with TestClient(create_app(make())) as client:
        response = client.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert "secret" not in response.text


def test_metrics_are_prometheus_text(client):
    client.get(f"/recommendations/{USER}?n=5")
    client.get("/recommendations/nobody?n=5")
    client.post("/clicks", json={"user": USER, "item": ITEM})
    client.get("/nowhere")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["mindlib_request_seconds_count",] == 2
    assert samples["mindlib_request_seconds_bucket", ("le", "+Inf")] == 2
    for stage, count in {"store": 2, "extract": 1, "recall": 1, "rank": 1, "rerank": 2}.items():
        assert samples["mindlib_stage_seconds_count", ("stage", stage)] == count
        assert samples["mindlib_stage_seconds_sum", ("stage", stage)] > 0
    why = (("fallback", "popularity"), ("reason", "no behaviors"), ("stage", "extract"))
    assert samples["mindlib_fallbacks_total", *why] == 1
    assert samples["mindlib_clicks_total", ("outcome", "stored")] == 1
    assert samples["mindlib_responses_total", ("status", "200")] == 2
    assert samples["mindlib_responses_total", ("status", "201")] == 1
    assert samples["mindlib_responses_total", ("status", "404")] == 1
    assert samples["mindlib_version_info", ("version", "one")] == 1
    assert samples["mindlib_swaps_total",] == 1


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 101, 10**30])
def test_n_out_of_range(client, n):
    message = refused(client.get(f"/recommendations/{USER}?n={n}"), 422)
    assert message == f"n={n}: expected 1 to 100"
    if n == 0:
        behaves("Serving", "a list of no items is requested", f"422: {message}")


@pytest.mark.parametrize("n", ["many", "1.5", "", "9" * 5000, "0x1"])
def test_n_that_is_no_number(client, n):
    message = refused(client.get(f"/recommendations/{USER}?n={n}"), 422)
    assert message.startswith("n: ")
    assert message.endswith("expected a whole number")


@pytest.mark.parametrize("user", ["-1", "-" + "9" * 40, "x" * 129, "%00", "%0A", "%20", ""])
def test_an_absurd_user(client, user):
    message = refused(client.get(f"/recommendations/{user}"), 422)
    assert message.startswith("user ")
    assert "expected a whole number from 0 to 2^63 - 1, or 1 to 128" in message


@pytest.mark.parametrize(
    ("click", "part"),
    [
        ({"user": USER, "item": 10**6}, "item 1000000 is unknown"),
        ({"user": USER, "item": str(ITEM)}, "is unknown; the store's item ids are whole numbers"),
        ({"user": USER, "item": -3}, "item -3: expected a whole number from 0"),
        ({"user": USER, "item": 2**63}, "item 9223372036854775808: expected a whole number from 0"),
        ({"user": -1, "item": ITEM}, "user -1: expected a whole number from 0"),
        ({"user": "", "item": ITEM}, "user '': expected"),
        ({"user": "a\ud800", "item": ITEM}, "user 'a\\ud800': expected"),
        ({"user": USER, "item": ITEM, "time": -1}, "time -1: expected seconds since 1970"),
        ({"user": USER, "item": ITEM, "time": 4 * 10**9}, "time 4000000000 lies in the future"),
        ({"user": USER, "item": ITEM, "time": 10**12}, "divide milliseconds by 1000"),
        ({"user": USER, "item": ITEM, "time": 10**40}, "lies in the future"),
        ({"user": USER, "item": ITEM, "time": 1.5}, "time: "),
        ({"user": USER, "item": ITEM, "time": "now"}, "time: "),
        ({"user": USER, "item": None}, "item: "),
        ({"user": USER, "item": True}, "item: "),
        ({"user": USER, "item": [1]}, "item: "),
        ({"user": USER}, "item: Field required; expected {"),
        ({"user": USER, "item": ITEM, "n": 1}, "n: "),
        ([], "expected {"),
        ("click", "expected {"),
        (None, "expected {"),
    ],
)
def test_a_click_that_cannot_be(client, store, click, part):
    before = store.recent(USER, 10_000)
    assert part in refused(post(client, json.dumps(click).encode()), 422)
    assert store.recent(USER, 10_000) == before


@pytest.mark.parametrize(
    "body",
    [b"{", b"{'user': 1}", b"\xff\xfe", b"user=1&item=2", b"[" * 4000, b'{"user": ' + b"9" * 4080],
)
def test_a_body_that_is_no_json(client, body):
    message = refused(post(client, body), 400)
    if body == b"{":
        behaves("Serving", "a request body that is not JSON", f"400: {message}")


def test_no_body_at_all(client):
    assert "expected {" in refused(post(client, b""), 422)


def test_a_body_that_does_not_say_what_it_is(client):
    """As curl sends it without -H; and as another page's form could, in a browser."""
    content = json.dumps({"user": USER, "item": ITEM}).encode()
    for headers in ({}, {"Content-Type": "text/plain"}):
        response = client.post("/clicks", content=content, headers=headers)
        assert "expected Content-Type: application/json" in refused(response, 415)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda t: json.dumps(t).encode()))
def test_whatever_is_sent_there_is_a_plain_refusal(client, body):
    response = post(client, body)
    assert response.status_code in (400, 422)
    assert response.json().keys() == {"error"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client, chunked):
    body = json.dumps({"user": "x" * MAX_BODY_BYTES, "item": 1}).encode()
    content = (body[i : i + 500] for i in range(0, len(body), 500)) if chunked else body
    message = refused(post(client, content), 413)
    assert message.startswith(f"the body is larger than {MAX_BODY_BYTES} bytes")
    if chunked:
        behaves("Serving", "a request body of more than 4,096 bytes", f"413: {message}")


def test_a_body_of_the_largest_size_is_read(client):
    click = json.dumps({"user": USER, "item": ITEM}).encode()
    assert post(client, click.ljust(MAX_BODY_BYTES)).status_code == 201
    assert post(client, click.ljust(MAX_BODY_BYTES + 1)).status_code == 413


def test_no_endless_body_is_read(client):
    """Reading stops where it is too much; it does not wait for the end."""
    sent = 0

    def endless():
        nonlocal sent
        while sent < 10**6:
            sent += 500
            yield b" " * 500

    assert post(client, endless()).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/docs", 404), ("PUT", "/clicks", 405)],
)
def test_what_there_is_not(client, method, path, status):
    refused(client.request(method, path), status)


# --- faults ------------------------------------------------------------------------------------


def test_a_locked_store_asks_to_try_again(client, store):
    with store._connection() as other:
        other.execute("BEGIN IMMEDIATE")
        response = client.post("/clicks", json={"user": USER, "item": ITEM})
        other.execute("ROLLBACK")
    assert refused(response, 503) == "the click could not be stored now; try again"
    assert response.headers["retry-after"] == "1"
    assert client.post("/clicks", json={"user": USER, "item": ITEM}).status_code == 201
    behaves(
        "Serving",
        "a click while another program locks the store",
        "503 with Retry-After; the click is neither acknowledged nor stored",
    )


def test_an_error_of_ours_has_an_id_and_no_trace(make, bundle, monkeypatch, caplog):
    """Even what stands in for everything fails."""
    monkeypatch.setattr("mindlib.online.serving.bundle.Bundle.recall_popular", broken)
    monkeypatch.setattr("mindlib.online.serving.platform._warm_up", lambda *_: None)
    app = create_app(make())
    with (
        TestClient(app, raise_server_exceptions=False) as client,
        caplog.at_level(logging.ERROR),
    ):
        response = client.get("/recommendations/nobody")
        metrics = client.get("/metrics").text
    assert response.status_code == 500
    content = response.json()
    assert content.keys() == {"error", "id"}
    assert not any(trace in response.text for trace in TRACES)
    record = next(r for r in caplog.records if content["id"] in r.getMessage())
    assert record.exc_info is not None
    assert "a secret path" in str(record.exc_info[1])
    assert 'mindlib_responses_total{status="500"} 1.0' in metrics
    behaves(
        "Serving",
        "an error in the server itself",
        "500 with an id under which the log has the cause; the response shows no trace",
    )


def test_a_stage_that_fails_is_told_without_its_trace(make, bundle, monkeypatch):
    monkeypatch.setattr("mindlib.online.serving.platform._warm_up", lambda *_: None)
    platform = make(replace(bundle, ranker=Scored(broken)))
    with TestClient(create_app(platform)) as client:
        response = client.get(f"/recommendations/{USER}")
    assert response.status_code == 200
    why = {"stage": "rank", "reason": "failed", "fallback": "recall order"}
    assert response.json()["fallbacks"] == [why]
    assert not any(trace in response.text for trace in TRACES)
    behaves("Serving", "the ranker fails", "200: the order of recall, and the response names it")
