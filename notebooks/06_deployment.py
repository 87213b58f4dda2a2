# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Deployment and the online experiment
#
# > **You will learn** what stands around MIND, the multi-interest network with dynamic routing
# > ([Li et al., 2019](https://arxiv.org/abs/1904.08030)), when it serves a shop (§5): one request's way
# > through five stages, what happens when one of them fails, how a week of A/B testing is read without fooling
# > oneself (§4.3), and how a model is replaced every night without losing a request.
# >
# > **You need** the ideas of notebooks 02 (a user is up to $K$ vectors, her *interests*) and 04 (an index
# > finds the items nearest to a vector). The server needs `pip install mindlib[app,export]`.
# >
# > **It takes** less than two minutes on two cores (the last cell says how long this run took).
# >
# > **The data** are planted worlds: users whose interests we put there ourselves, so that we know what a right
# > answer is. They are generated here, without a network.

# %% tags=["parameters"]
users: int = 600  # of the shop whose requests we follow
visitors: int = 4000  # who live through the week of the online experiment
learners: int = 800  # of them, those whose pasts the models are trained on
tests: int = 1000  # A/A tests
seed: int = 0  # of worlds, models and luck

# %%
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mindlib.lessons.common.report import (
    Number,
    check_parameters,
    save_figure,
    write_metrics,
)

check_parameters(
    globals(),
    {
        "users": Number(200, 20_000, whole=True),
        "visitors": Number(500, 100_000, whole=True),
        "learners": Number(100, 100_000, whole=True),
        "tests": Number(200, 10_000, whole=True),
        "seed": Number(0, 10_000, whole=True),
    },
)
started = time.perf_counter()

# %%
import threading

import ipywidgets
import numpy as np
import torch
from IPython.display import Markdown, display
from matplotlib import rcParams

from mindlib.evaluation import verdict
from mindlib.lessons.common.page import show_source, show_table
from mindlib.lessons.common.records import record
from mindlib.lessons.common.style import use_style
from mindlib.lessons.common.widgets import explore
from mindlib.lessons.n06_online import deployment, disturbed, nights, online
from mindlib.lessons.n06_online import figures as plots
from mindlib.lessons.n06_online import week_figures as week_plots
from mindlib.lessons.n06_online.exercises import ASSIGN, ATTRACTION, IN_TIME, SAMPLE_RATIO
from mindlib.lessons.n06_online.refresh_figures import refresh_week
from mindlib.lessons.n06_online.refresh_week import FROZEN, planted_week
from mindlib.online.ranking import TwoTower
from mindlib.online.refresh import Follower, GateRejected, Registry, load_version, refresh
from mindlib.online.serving.config import PlatformConfig
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.simulation import (
    DYNAMIC_K,
    ITEM_CF,
    SAMPLE_RATIO_ALPHA,
    YOUTUBE_DNN,
    Experiment,
    a_over_a,
    ctr,
    ctr_by_day,
    daily_looks,
    fixed_k,
    impression_rate,
    lift,
    rate,
    sample_ratio,
    searches_per_request,
    stopped_share,
    stopping_bounds,
)
from mindlib.online.simulation.hashing import uniform

use_style()
rcParams["figure.dpi"] = 85  # the pictures on this page; the saved ones are vector graphics
rest = ExitStack()  # closed in the last cell
home = Path(rest.enter_context(tempfile.TemporaryDirectory()))

# %% [markdown]
# ## 1. One request
#
# A shop has some 1,600 items in 40 clusters. The next cell trains MIND on its log, trains the
# ranker on the lists that MIND finds, writes both into one folder (a *version*, called "monday"), and reads
# the folder back. The log itself goes into a *behaviour store*, a database that knows what each user has done.
# From here on the training is over; there are only the folder and the store.

# %%
shop = deployment.open_shop(home, users, seed=seed)
rest.callback(shop.store.close)
bundle, store = shop.bundle, shop.store
platform = PersonalityPlatform(store, bundle, PlatformConfig(timeouts=deployment.PATIENT))
rest.callback(platform.close)
print(f"version {bundle.version!r}: {len(bundle.catalogue):,} items; a store of {users:,} users")

# %% [markdown]
# ### By hand
#
# A user opens the app. All that arrives is her id. What follows takes a few milliseconds, in five stages:
#
# 1. the **behaviour store** says what she has done;
# 2. the **interest extractor** (MIND without label-aware attention) turns that into $K'_u$ vectors
#    $\mathbf V_u = f_{user}(\mathcal I_u, \mathcal P_u)$ (Eq. 1);
# 3. the **recall engine** searches the index once for each vector and merges the lists by
#    $\max_k \mathbf e_i^\top \mathbf v_u^k$ (Eq. 3): 1,000 candidates;
# 4. the **ranker** looks at each candidate beside her whole past and puts them into order;
# 5. a **rule** sees to what a shop promises: nothing she has had, and at most 30 % of one department.

# %%
user = next(u for u in store.users(users) if 16 <= len(store.recent(u, 100)) <= 24)
behaviors = np.array(bundle.catalogue.encode_items(store.recent(user, 2000)))
profile = np.array(bundle.catalogue.encode_profile(store.profile(user)))
print(f"store     {len(behaviors)} behaviours of user {user}, profile {store.profile(user)}")
interests = bundle.extract(behaviors, profile)
print(f"extract   {len(interests)} interests of {interests.shape[1]} numbers each")
candidates = bundle.recall(interests, behaviors, 1000)
found_by = np.bincount(candidates.interests, minlength=len(interests))
print(f"recall    {len(candidates):,} candidates; by interest {found_by.tolist()}")
scores = bundle.ranker.score(behaviors, candidates.items)
print(f"rank      best logit {scores.max():.2f}, median {np.median(scores):.2f}")
step = deployment.walk(bundle, behaviors, profile, 100)
print(f"rule      a page of {len(step.shown)}; the first three: "
      f"{', '.join(bundle.metadata.titles[i] for i in step.shown.items[:3])}")  # fmt: skip
assert len(interests) == max(1, min(5, int(np.log2(min(len(behaviors), 30))))), "Eq. 9"
assert len(candidates) == 1000
assert found_by.sum() == 1000
assert not np.isin(step.shown.items, behaviors).any(), "nothing she has had"

# %% [markdown]
# **Equality.** The platform does the same and nothing else. Its answer says by which version, in which order and
# in how many milliseconds it came about, and whether anything had to be replaced.

# %%
answer = platform.recommend(user, 100)
assert answer.items == tuple(bundle.catalogue.item_ids[i - 1] for i in step.shown.items)
assert not answer.fallbacks
assert answer.order == "ranking"
show_table(
    ["place", "item", "score", "found by interest"],
    [
        (n + 1, answer.titles[n], f"{answer.scores[n]:.2f}", answer.interests[n])
        for n in (0, 1, 2, 3, 4, 49, 99)
    ],
)
print(f"{answer.order}, by version {answer.version!r}, {answer.milliseconds['total']:.1f} ms; "
      f"{deployment.told(answer)}")  # fmt: skip

# %% [markdown]
# ### Where the time goes
#
# Every stage works in a thread of its own, with a time budget. We ask for 200 users, one after another, and
# write the median of each stage onto the picture of the whole system.

# %%
asking = (store.users(200) * 2)[:200]
times = deployment.stage_times(platform, asking, 100)
middle = {stage: p50 for stage, (p50, _) in times.items()}
figure = plots.system(middle, interests=len(interests), candidates=1000, shown=100)
_ = save_figure(figure, "06_system.svg")
show_table(
    ["stage", "median, ms", "99 in 100 take at most, ms"],
    [(stage, f"{p50:.2f}", f"{p99:.2f}") for stage, (p50, p99) in times.items()],
)
print(
    f"extract + recall: {middle[deployment.BOTH]:.1f} ms (the paper: less than 15 ms, in a catalogue of a billion)"
)
assert set(plots.STAGES) | {"total", deployment.BOTH} == set(times)
assert sum(middle[stage] for stage in plots.STAGES) < 2 * times["total"][1]

# %% [markdown]
# One user at a time, one process, a small catalogue, and no network: these are the times of the stages and not of
# a service. The second measurement, if it was recorded, is closer to one: real clients over HTTP, four at once,
# with a click for every four requests.

# %%
kept = record("load")
if kept:
    loaded = {row["stage"]: (row["p50"], row["p99"]) for row in kept.rows}
    display(Markdown(f"The platform under load, {kept.source}."))
else:
    loaded = times
    display(Markdown("No load test was recorded with this mindlib (`benchmarks/load.py` makes one); "
                     "below are the times of this run, without HTTP."))  # fmt: skip
figure = plots.latency(loaded, {deployment.BOTH: 15.0})
_ = save_figure(figure, "06_latency.svg")
assert all(0 < p50 <= p99 for p50, p99 in loaded.values())
held = loaded[deployment.BOTH][1] < 15
print(f"{deployment.BOTH} within 15 ms in 99 of 100 requests: {'yes' if held else 'no'}")

# %% [markdown]
# ### A click
#
# Over HTTP now, as an app would do it: a server on this machine, `GET /recommendations/{user}`, and
# `POST /clicks`. She clicks on the first item that she is shown. Nothing is trained, no table is changed; the store
# has one row more. The next request reads it, so her vectors are other vectors.

# %%
with disturbed.served(platform) as client:
    first = client.ask(f"/recommendations/{user}?n=20")
    item = first.content["items"][0]["id"]
    click = client.ask("/clicks", {"user": user, "item": item})
    second = client.ask(f"/recommendations/{user}?n=20")
    refused = client.ask("/clicks", {"user": user, "item": -5})
before, then = ([row["id"] for row in r.content["items"]] for r in (first, second))
print(f"GET  {first.status}, {first.milliseconds:.0f} ms at the client: first item {item}")
print(f"POST {click.status}: {click.content}")
print(f"GET  {second.status}: item {item} is {'still there' if item in then else 'gone'}; "
      f"{len(set(before) & set(then))} of 20 items stay, {sum(a == b for a, b in zip(before, then, strict=True))} in their place")  # fmt: skip
print(f"POST {refused.status} for an item that no shop has: {refused.content['error'][:70]}…")
assert (first.status, click.status, second.status, refused.status) == (200, 201, 200, 422)
assert item not in then
assert before != then

# %% [markdown]
# ### Watch it
#
# Choose a cluster and how many of its products a user clicks on. On the left is her past. In the middle are her interests,
# each as long as it has items among recall's best 100, and coloured by their clusters (grey: clusters that are neither hers nor
# clicked on). On the right is the final list before and after, two columns each: the number is the item's cluster, the one behind the dot the
# interest that found it. (An interest's number means nothing across two pasts.)

# %%
people = range(1, users + 1)
sizes = np.bincount(shop.split.log.users, minlength=users + 1)
case = next(u for u in people if sizes[u] in range(12, 16) and shop.world.interests[u].sum() == 2)
visitor = deployment.visitor(shop.split, shop.world, case)
foreign = [c for c in visitor.popular if c not in visitor.own][:6]
unclicked = deployment.after_clicks(bundle, visitor, foreign[0], 0)


def clicked(cluster, clicks):
    after = deployment.after_clicks(bundle, visitor, cluster, clicks)
    return plots.watched(visitor, unclicked, after, cluster, clicks)


_ = explore(
    clicked,
    cluster=ipywidgets.Dropdown(
        options=[*visitor.own, *foreign], value=foreign[0], description="cluster"
    ),
    clicks=ipywidgets.IntSlider(value=4, min=0, max=8, description="clicks"),
)
walks = [deployment.after_clicks(bundle, visitor, foreign[0], n) for n in (0, 1, 4, 8)]
in_list = [int((plots.kinds_of(visitor, w.shown) == foreign[0]).sum()) for w in walks]
print(f"after 0, 1, 4 and 8 clicks on cluster {foreign[0]} she has {[len(w.interests) for w in walks]} "
      f"interests, and {in_list} of the 20 items of her list are of it")  # fmt: skip
assert all(
    len(w.interests) == max(1, int(np.log2(len(visitor.past) + clicks)))
    for w, clicks in zip(walks, (0, 1, 4, 8), strict=True)
), "Eq. 9"
assert walks[0].shown.items.tolist() == unclicked.shown.items.tolist()
assert not torch.equal(walks[0].interests[0], walks[1].interests[0])

# %% [markdown]
# ### Is the ranker worth its milliseconds?
#
# Recall's own score, $\max_k \mathbf e_i^\top \mathbf v_u^k$, is a *two-tower* score: user and item meet only in an
# inner product, which is what makes an index possible. The ranker, DIN, sees candidate and past together:
# for each candidate it weighs her behaviours anew. Both score the same lists of held-out users, 1,000
# candidates each. **AUC** is the share of pairs (taken, not taken) that stand in the right order, over all users' pairs.
# **GAUC** forms pairs within one user's list only, and weighs users by the length of their list. That is what the order of a page depends on.

# %%
scorers = {"two-tower (recall's own)": TwoTower(shop.model), "DIN": shop.din}
rankers = deployment.judge_rankers(scorers, shop.split.test, shop.model)
show_table(
    ["scorer", "AUC", "GAUC", "ahead in AUC of a user (95 % interval)"],
    [
        (name, f"{j.quality.auc:.3f}", f"{j.quality.gauc:.3f}",
         f"{j.lead.value:+.3f} ({j.lead.low:+.3f} to {j.lead.high:+.3f})")
        for name, j in rankers.items()
    ],
)  # fmt: skip
din = rankers["DIN"]
print(f"{din.quality.evaluated} of {din.quality.lists} lists have the item that came next; "
      f"DIN is {'better' if din.lead.low > 0 else 'worse' if din.lead.high < 0 else 'not told apart'}")  # fmt: skip
assert all(0.5 < j.quality.gauc < 1 for j in rankers.values())
assert deployment.RANKING.epochs == 3

# %% [markdown]
# A list that recall did not put the next item into is not judged: no order could bring it back. (DIN began with a copy of
# MIND's item vectors and was trained for three epochs on lists that MIND had found. One world, one
# training: the interval is about users.)
#
# ## 2. When something breaks
#
# A user must be shown something. So each stage has a **budget** in seconds and a **fallback**, and the answer says
# which one was used:
#
# | stage that is late or down | what stands in |
# |---|---|
# | store, extract, recall | popularity |
# | rank | recall's order |
# | re-ranking rule | the first $n$ of the order |
#
# A user without a known behaviour is answered from her profile, and without a profile by popularity. We
# break one thing after another. *Stopped* raises an error at once; *slow* never comes back by itself, and has
# 0.05 s.

# %%
rows = []


def poke(case, who, of, version=bundle, timeouts=deployment.PATIENT, workers=4):
    config = PlatformConfig(timeouts=timeouts, workers=workers)
    shaken = disturbed.broke(of, bundle, version, config)
    rest.callback(shaken.close)
    with disturbed.logged() as lines:
        answer = shaken.recommend(who, 20)
    rows.append((case, answer))
    return shaken, answer, lines


stopped, slow = disturbed.Failing(), disturbed.Held(bundle.ranker)
in_a_hurry = replace(deployment.PATIENT, rank=0.05)
_, usual, _ = poke("all is well", user, store)
_, unranked, lines = poke("ranker stopped", user, store, replace(bundle, ranker=stopped))
tired, late, _ = poke("ranker slow", user, store, replace(bundle, ranker=slow), in_a_hurry, 1)
began = slow.begun.is_set()
queued = tired.recommend(user, 20)  # the only worker is still with the first request
rows.append(("ranker's only worker taken", queued))
_, absent, _ = poke("version without a ranker", user, store, replace(bundle, ranker=None))
_, stranger, _ = poke("unknown user", "nobody", store)
store.set_profile("newcomer", store.profile(user))
_, newcomer, _ = poke("profile, but no behaviour", "newcomer", store)
_, blind, _ = poke("store unreadable", user, disturbed.Unreadable(store))
slow.released.set()
show_table(
    ["", "order", "what the answer says", "items as usual, of 20"],
    [(case, a.order, deployment.told(a), len(set(a.items) & set(usual.items))) for case, a in rows],
)
print("the log has:", *lines)
assert all(len(a.items) == 20 for _, a in rows), "everybody is shown something"
assert usual.order == "ranking"
assert not usual.fallbacks
for a, why in ((unranked, "failed"), (late, "timeout"), (queued, "timeout"), (absent, "absent")):
    assert a.order == "recall"
    assert [(f.stage, f.reason) for f in a.fallbacks] == [("rank", why)]
assert unranked.items == late.items == queued.items == absent.items
assert began, "its one worker is at work"
assert queued.milliseconds["rank"] >= 45
assert stranger.order == blind.order == "popularity"
assert newcomer.order == "recall"
assert newcomer.fallbacks[0].fallback == "profile"

# %% [markdown]
# - **The ranker is the one that may fail quietly**: the page is full, of the same 1,000 candidates, in recall's order (how good that is says
#   the table above). Whoever does not count fallbacks may not notice for weeks; `GET /metrics` counts them.
# - **Slow is worse than stopped.** Python cannot end a thread: late work keeps its worker until it returns. With all workers taken, the next
#   request is late without its work being begun, so that nothing piles up. The other stages have workers of
#   their own and go on.
# - **Nobody known, nothing readable**: popularity, minus what she has had if that is known.
#
# ## 3. The week
#
# The paper's online experiment (§4.3): users are divided, each group gets another retrieval method, all
# methods hand 1,000 candidates to the *same* ranker, and for a week clicks over impressions (**CTR**) are counted.
# We have no app with a hundred million users. We have a simulation whose truth is known, which allows one thing
# that reality does not: **the same week can be played with each method, for every user.**
#
# ### Clicks, and where they come from
#
# A click needs two things: she *looks* at the place, and what is there *attracts* her.
#
# $$ P(\text{click} \mid u, i, \text{rank}) = \underbrace{\text{rank}^{-1}}_{\text{she looks}} \cdot
#    \underbrace{\min(1,\; g_u \cdot a \cdot \text{appeal}_i)}_{\text{it attracts her}} $$
#
# $a$ is one half for the interest that she came for today, one fifth for her others, one fiftieth for all
# else. The parameters were set by reasoning before the first run (`ClickConfig`). Interests drift: each day one in fifty
# users swaps one for another. Clicks become behaviours: tomorrow's request knows them. Half of the users come on a day.
#
# Trained next, for four short epochs each, are item-based CF, YouTube DNN (one vector), MIND with 1 to 7 interests, MIND with
# dynamic $K$ (Eq. 9). (Item-based CF only counts.) Two more that a reader should ask for: popularity as the floor, and YouTube DNN *again*, from another seed.

# %%
several = online.play(online.SEVERAL, online.ARMS, users=visitors, learners=learners, seed=seed)
week, ks = several.week, online.ARMS.interests
names = (ITEM_CF, YOUTUBE_DNN, *(fixed_k(k) for k in ks), DYNAMIC_K)
log = several.world.log
print(f"{log.num_users:,} users, {log.num_items:,} items in {len(several.world.probabilities)} clusters, "
      f"{online.PAGE.num_candidates(log.num_items)} candidates, {online.PAGE.length} places; "
      f"{int(week.impressions[0].sum()):,} impressions an arm")  # fmt: skip
clicking = several.traffic.config
assert (clicking.focus, clicking.own, clicking.other) == (1 / 2, 1 / 5, 1 / 50)
assert (clicking.position, clicking.drift, clicking.days) == (1, 1 / 50, 7)
assert online.ARMS.training.epochs == 4

# %% [markdown]
# ### Before anything else: the split
#
# **A user's arm is a hash of her id**, salted with the experiment's name. Nobody has to remember it, she has the
# same arm on every day and device, and two experiments divide the users independently.

# %%
show_source(Experiment.assign)
test = Experiment("retrieval, first week", names)
members = test.members(log.user_ids)
sizes = members.sum(1)
ratio = sample_ratio(sizes, test.shares)
least = int(sizes.argmin())
crash = sample_ratio(online.lost(sizes, least, 0.3), test.shares)
other = Experiment("colour of the button", ("blue", "green")).members(log.user_ids)[0]
shares = [float(other[row].mean()) for row in members]
print(
    f"users by arm {sizes.tolist()}: p = {ratio:.3f}, {'below' if ratio < SAMPLE_RATIO_ALPHA else 'above'} {SAMPLE_RATIO_ALPHA}"
)
print(
    f"if the app crashed for three users in ten of {names[least]!r}: p = {crash:.1e}, {'below' if crash < SAMPLE_RATIO_ALPHA else 'above'}"
)
print(
    f"share of each arm that another experiment paints blue: {min(shares):.2f} to {max(shares):.2f}"
)
assert sizes.sum() == log.num_users, "everybody, once"
assert (members == test.members(log.user_ids)).all(), "the same tomorrow"
assert crash < ratio

# %% [markdown]
# The **sample-ratio check** asks whether chance alone can explain the sizes. Below 0.001 it cannot: something divides, or
# loses, users in another way, and *no other number of the test means anything*, for who is missing is hardly a
# random choice. (It is 0.001 and not 0.05, for a platform asks every day of every test.)
#
# ### A/A first
#
# Does the method find differences where there are none? Users who all had YouTube DNN are divided in two at
# random, again and again, and tested as if they had had two arms. The p-values must be even: 5 % below 0.05.

# %%
generator = np.random.default_rng(seed)
base = several.row(YOUTUBE_DNN)
halves = generator.random((tests, log.num_users + 1)) < 0.5
p_values = a_over_a(week.clicks[base].sum(0), week.impressions[base].sum(0), halves)
scores_by_day = daily_looks(week, base, halves)
fractions = online.fractions(week, base)
rules = {
    "peeking (1.96 every day)": stopping_bounds(fractions, "none", generator=generator),
    "Pocock": stopping_bounds(fractions, "pocock", generator=generator),
    "O'Brien-Fleming": stopping_bounds(fractions, "obrien-fleming", generator=generator),
}
looks = {name: stopped_share(scores_by_day, bound) for name, bound in rules.items()}
_ = save_figure(week_plots.a_over_a(p_values, looks), "06_a_over_a.svg")
false = float((p_values < 0.05).mean())
whole = rate(week.clicks[base].sum(0), week.impressions[base].sum(0))
naive = impression_rate(week.clicks[base].sum(0), week.impressions[base].sum(0))
print(f"{false:.1%} of the A/A tests have p < 0.05")
print(f"CTR {whole.percent(2)} over users; {naive.percent(2)} if impressions were independent: "
      f"{(whole.high - whole.low) / (naive.high - naive.low):.2f} times as wide")  # fmt: skip
show_table(
    ["stopped with a finding that is none", *(f"day {d}" for d in range(1, 8))],
    [(name, *(f"{x:.1%}" for x in row)) for name, row in looks.items()],
)
show_table(
    ["bound on |Z|", *(f"day {d}" for d in range(1, 8))],
    [(name, *(f"{x:.2f}" for x in row)) for name, row in rules.items()],
)
luck = 5 * (0.05 * 0.95 / tests) ** 0.5  # five standard errors of a share of so many tests
assert abs(false - 0.05) < luck
peeking, pocock, fleming = (row[-1] for row in looks.values())
assert max(pocock, fleming) < 0.05 + luck
assert peeking > max(pocock, fleming)

# %% [markdown]
# - **The unit is the user.** Her impressions are alike, so counting them as independent makes intervals too narrow; the delta
#   method takes the variance from what each *user* adds to the ratio.
# - **Looking every day** and stopping at the first $|Z| > 1.96$ finds something in more of the tests than it
#   promises, though there is nothing to be found (right; the dashed line is the 5 % that was meant). Bounds that are wide at first pay for the looks: with O'Brien and Fleming's the last day
#   keeps nearly the level of a single look (second table). So decide before the test how often you will look.
#
# ### The test as a shop would run it
#
# Each user has one arm, by the hash. Each day's CTR with its 95 % interval:

# %%
show_source(online.divided)
split_week = online.divided(week, np.concatenate([members, np.zeros_like(members[:2])]))
drawn = (ITEM_CF, YOUTUBE_DNN, fixed_k(1), fixed_k(5), DYNAMIC_K)
by_day = {name: ctr_by_day(split_week, several.row(name)) for name in drawn}
_ = save_figure(week_plots.ctr_by_day(by_day), "06_ctr_by_day.svg")
told = {
    name: verdict(lift(split_week, several.row(name), base))
    for name in names
    if name != YOUTUBE_DNN
}
print(f"of {len(told)} arms, {sum(v != 'inconclusive' for v in told.values())} differ from YouTube DNN "
      f"after the whole week: { {n: v for n, v in told.items() if v != 'inconclusive'} or 'none' }")  # fmt: skip
assert all(len(days) == 7 for days in by_day.values())
assert (split_week.requests.sum(0) <= 1).all(), "one arm a user"

# %% [markdown]
# Few users an arm make wide intervals; how many arms can be told from YouTube DNN all the same is printed above. Tmall
# has millions of users. Without them, what does one do?
#
# ### The test that only a simulation can run
#
# Now everybody lives through the same week once with each arm: the same people come on the same days after
# the same things, with the same luck at each place and product. What they share cancels in the difference.

# %%
rates = {name: ctr(week, several.row(name)) for name in (*names, online.AGAIN, online.POPULARITY)}
lifts = {name: lift(week, several.row(name), base) for name in rates}
searches = {name: searches_per_request(week, several.row(name)) for name in rates}
narrower = np.mean([
    (x.high - x.low) / (y.high - y.low)
    for n in names if n != YOUTUBE_DNN
    for x, y in [(lifts[n], lift(split_week, several.row(n), base))]
])  # fmt: skip
show_table(
    ["arm", "CTR (95 % interval)", "less YouTube DNN, points", "verdict", "searches a request"],
    [
        (name, r.percent(2), f"{100 * d.value:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f})",
         "–" if name == YOUTUBE_DNN else verdict(d), f"{searches[name]:.1f}")
        for name, r in rates.items() for d in [lifts[name]]
    ],
)  # fmt: skip
figure = week_plots.ctr_against_interests(
    {k: rates[fixed_k(k)] for k in ks},
    (searches[DYNAMIC_K], rates[DYNAMIC_K]),
    {name: rates[name] for name in (ITEM_CF, YOUTUBE_DNN)},
)
_ = save_figure(figure, "06_interests.svg")
print(f"intervals of a difference are {narrower:.2f} times as wide as in the divided test")
stop, save = online.stops_paying(week, ks), online.saved(week, max(ks))
print(
    f"above K = {stop} no larger K has more CTR; dynamic K needs {save:.0%} fewer searches than K = {max(ks)}"
)
assert narrower < 1
assert all(searches[fixed_k(k)] == k for k in ks)
assert lifts[online.POPULARITY].high < 0, "the floor is a floor"
assert 0 < save < 1

# %% [markdown]
# The figure has the intervals of the rates, which overlap more than those of the differences in the table. Its star is dynamic
# $K$: what it costs is the searches that its users really cause.
#
# A fixed rule decides each verdict: "above YouTube DNN" *holds here* if the whole interval of the difference is above zero,
# is *reversed here* if it is below, and is *inconclusive* otherwise. Hold the row "trained again" against the others: what another seed moves is not in
# the intervals, which speak of users only. A difference of that size says nothing about the method.
#
# What §4.3 reports, against what came out here (nothing was tuned towards it):

# %%
findings = online.findings(week)
show_table(
    ["the paper reports", "here, points of CTR (95 % interval)", "verdict"],
    [(f.text, f.difference.points(), f.found) for f in findings],
)
assert {f.found for f in findings} <= {"holds here", "reversed here", "inconclusive"}

# %% [markdown]
# Two arms are comparable if the whole interval of their difference lies within ± 0.2 points. A
# planted world is not Tmall. All there is to know of an item is which items go with it, and that is what item-based CF counts;
# the vector models have to learn it, from a few hundred users and in four epochs. The ranker is the same for all, and repairs part of
# what an arm's order lacks: an arm differs only by what it retrieves.
#
# ### A world in which several interests must not win
#
# Users who want *one* thing. If MIND with several interests won here as well, the simulation would favour it
# for some reason of its own.

# %%
few = replace(online.ARMS, interests=(1, 4), item_cf=False)
one = online.play(online.ONE, few, users=visitors, learners=learners, seed=seed)
alone = {name: ctr(one.week, one.row(name)) for name in one.week.arms}
against = {
    name: lift(one.week, one.row(name), one.row(fixed_k(1))) for name in (fixed_k(4), DYNAMIC_K)
}
show_table(
    ["users of one interest", "CTR (95 % interval)"], [(n, r.percent(2)) for n, r in alone.items()]
)
for name, d in against.items():
    print(f"{name} less MIND, K = 1: {100 * d.value:+.2f} points ({100 * d.low:+.2f} to {100 * d.high:+.2f}), "
          f"{verdict(d)}: {'it must not be' if verdict(d) == 'holds here' else 'as it should be'}")  # fmt: skip
assert one.world.interests[1:].sum(1).max() == 1

# %% [markdown]
# ### Places
#
# Raw CTR falls from place to place. Is that the ranking's merit, or do people not look that far down? Both. Divide
# the clicks by the *expected looks* and what is left is how much the shown products attract. In the
# simulation we know the truth.

# %%
places = online.by_place(several, YOUTUBE_DNN)
show_table(
    ["place", *range(1, 11)],
    [
        ("raw CTR, %", *(f"{100 * x:.1f}" for x in places.ctr)),
        ("clicks / expected looks, %", *(f"{100 * x:.1f}" for x in places.corrected)),
        ("truth, %", *(f"{100 * x:.1f}" for x in places.truth)),
    ],
)
off = np.abs(places.corrected - places.truth) / places.error
falls = [float(x[0] / x[5:].mean()) for x in (places.ctr, places.truth)]
print(
    f"from the first place to the last five raw CTR falls by a factor of {falls[0]:.1f}, "
    f"attraction by {falls[1]:.1f}; the corrected rates are within {off.max():.1f} standard errors of the truth"
)
assert falls[0] > 1.5 * falls[1]
assert off.max() < 5

# %% [markdown]
# ## 4. Every night
#
# The paper trains anew every day. So a shop has a new model each morning, made by nobody, and must survive a bad one.
# A refresh is five steps: **train** on the days up to tonight (warm, from yesterday's weights, or from scratch), **write** a version
# into a folder that nobody reads, **judge** it (the *gate*), **rename** it, and move one pointer. A small shop with
# a growing catalogue, three evenings:

# %%
shows = nights.evenings(3, seed=seed)
registry = Registry(home / "registry")
first_night = refresh(registry, shows[0], replace(nights.CONFIG, seed=seed))
second_night = refresh(registry, shows[1], replace(nights.CONFIG, seed=seed))
show_table(
    ["night", "version", "start", "events", "items", "epochs", "seconds", "Recall@10 of the gate's cases"],
    [
        (n, r.number, r.facts["start"], f"{r.facts['events']:,}", r.facts["items"],
         r.facts["epochs"], r.facts["seconds"], f"{r.facts['metrics']['Recall@10']:.2f}")
        for n, r in enumerate((first_night, second_night), 1)
    ],
)  # fmt: skip
print("\n".join(nights.folders(registry.folder)))
assert registry.current() == 2
assert second_night.facts["start"] == "version 0001"

# %% [markdown]
# ### A broken export
#
# On the third night a job builds the index with every vector under its neighbour's number. Each file is whole, every number
# finite, every checksum right. The gate asks the version *as it was read back from disk* and compares its lists with the trained
# model's own.

# %%
show_source(nights.misnumbered)
wrong = replace(nights.CONFIG, index=nights.misnumbered, seed=seed)
try:
    refresh(registry, shows[2], wrong)
    raise AssertionError("it was served")
except GateRejected as error:
    reasons = error.gate.reasons
    print(error)
print("current:", registry.current())
assert registry.current() == 2
assert any("exact search" in reason for reason in reasons)

# %% [markdown]
# ### The swap, under traffic, and back
#
# Two clients ask without a pause while the platform goes from version 1 to version 2. The `Follower` looks at
# the pointer, loads the new version beside the old one, lets it answer once, and hands it over, which is one
# assignment. A request keeps the version that it began with.

# %%
living = rest.enter_context(disturbed.seeded(home / "second.sqlite", shows[1]))
shop_two = PersonalityPlatform(
    living,
    load_version(registry, 1),
    PlatformConfig(max_candidates=100, timeouts=deployment.PATIENT),
)
rest.callback(shop_two.close)
follower = Follower(registry, shop_two.use)
turn = nights.under_traffic(
    lambda user: shop_two.recommend(user, 10).version, living.users(50), follower.poll
)
print(f"{len(turn.requests)} requests, {len(turn.errors)} errors; ended before: {turn.versions(old=True)}, "
      f"begun after: {turn.versions(old=False)}; loading, rehearsing and swapping took "
      f"{turn.after - turn.before:.2f} s")  # fmt: skip
assert not turn.errors
assert (turn.versions(old=True), turn.versions(old=False)) == ({"0001"}, {"0002"})

# One request is held up inside version 2 while version 1 comes back.
held = disturbed.HeldRule(shop_two.reranker)
shop_two.reranker = held
answers = []
thread = threading.Thread(target=lambda: answers.append(shop_two.recommend(living.users(1)[0], 10)))
thread.start()
held.begun.wait()
back = registry.rollback()
follower.poll()
held.released.set()
thread.join()
answers.append(shop_two.recommend(living.users(1)[0], 10))
print(f"rolled back to version {back}; the request that had begun ended on {answers[0].version}, "
      f"the next one is answered by {answers[1].version}")  # fmt: skip
show_table(
    ["version", "state", "made from"],
    [(r.number, r.state, r.facts["start"]) for r in registry.history()],
)
assert [a.version for a in answers] == ["0002", "0001"]
assert [r.state for r in registry.history()] == ["current", "rolled back", "rejected"]

# %% [markdown]
# `registry.rollback()` is one call: nothing is trained, nothing copied, the pointer moves. The old version was never deleted.
#
# ### Warm or from scratch?
#
# A warm start continues from yesterday's weights and costs a fraction of the time. What is it worth? Another planted shop
# for seven evenings, in which users and items keep coming. Every evening each way trains, and the
# *next* day judges; **no refresh** is the first evening's model, asked again. The intervals are about the differences on the same cases.

# %%
rows = planted_week(seed)
_ = save_figure(refresh_week(rows), "06_refresh.svg")
table = nights.ways(rows)
show_table(
    ["way", "Recall@50, mean of the days", "above no refresh, mean", "days better / worse by interval", "time, from scratch = 1"],
    [
        (name, f"{w.recall:.3f}", "–" if name == FROZEN else f"{w.gain:+.3f}",
         "–" if name == FROZEN else f"{w.better} / {w.worse}",
         "–" if name == FROZEN else f"{w.seconds:.2f}")
        for name, w in table.items()
    ],
)  # fmt: skip
newest = rows[-1]
print(
    f"on the last evening {1 - newest.known:.0%} of what is taken next is unknown to the model that is never refreshed"
)
best = max((n for n in table if n != FROZEN), key=lambda n: table[n].recall)
cheap = min((n for n in table if n != FROZEN), key=lambda n: table[n].seconds)
print(f"best mean recall: {best}; least time: {cheap} ({table[cheap].seconds:.2f} of from scratch)")
assert newest.way == FROZEN
assert table["from scratch"].seconds == 1
assert table["warm, newest day"].seconds < table["warm, all days"].seconds < 1
assert newest.known < rows[0].known

# %% [markdown]
# A model that is never refreshed cannot recommend what it has never seen; the share of it is printed above. One world, one
# sequence of trainings: which warm way pays is to be found out in one's own shop, by the same table.
#
# ## 5. Exercises
#
# ### Exercise 1: who sees which arm
#
# Write `assign(users, key, shares)`: the arm of each user, counted from 0, for an experiment with the salt `key`.
# `uniform(key, users)` (numpy) gives each id a fixed number in $[0, 1)$; `shares` is what each arm should get.


# %%
def assign(users, key, shares):
    return None  # your code here


done = ASSIGN.check(assign)


# %% jupyter={"source_hidden": true} tags=["solution"]
def assign(users, key, shares):
    luck = torch.from_numpy(uniform(key, users.numpy()))
    ends = shares.double().cumsum(0)[:-1]
    return (luck[:, None] >= ends).sum(1)


assert ASSIGN.check(assign)

# %% [markdown]
# ### Exercise 2: what a click is worth
#
# Write `attraction(lists, clicked, looks, items)`: `lists` and `clicked` are `(requests, places)`, `looks` is the probability of a look
# at each place. Return `(items + 1,)`: for each item its clicks over its expected looks; 0 for the padding 0 and for items
# that nobody was shown.


# %%
def attraction(lists, clicked, looks, items):
    return None  # your code here


done = ATTRACTION.check(attraction)


# %% jupyter={"source_hidden": true} tags=["solution"]
def attraction(lists, clicked, looks, items):
    clicks = torch.zeros(items + 1, dtype=torch.float64)
    expected = torch.zeros(items + 1, dtype=torch.float64)
    clicks.index_add_(0, lists.flatten(), clicked.double().flatten())
    expected.index_add_(0, lists.flatten(), looks.double().expand(lists.shape).flatten())
    clicks[0] = 0
    return clicks / expected.where(expected > 0, 1.0)


assert ATTRACTION.check(attraction)

# %% [markdown]
# ### Exercise 3: K lists, as far as they came in time
#
# The searches of one user's interests run side by side. Write `in_time(items, scores, milliseconds, budget, n)`:
# `items` and `scores` are `(K, m)`, `milliseconds` says when each search came back. Merge those that came within the budget:
# the best $n$ items, best first, each once and by its best score; 0 where there are fewer.


# %%
def in_time(items, scores, milliseconds, budget, n):
    return None  # your code here


done = IN_TIME.check(in_time)


# %% jupyter={"source_hidden": true} tags=["solution"]
def in_time(items, scores, milliseconds, budget, n):
    there = milliseconds <= budget
    best = torch.full((int(items.max()) + 1,), -torch.inf)
    best.scatter_reduce_(0, items[there].flatten(), scores[there].flatten(), "amax")
    order = best.argsort(descending=True)[: int(best.isfinite().sum())][:n]
    return torch.cat([order, order.new_zeros(n - len(order))])


assert IN_TIME.check(in_time)

# %% [markdown]
# ### Exercise 4: is the split what it should be?
#
# Write `sample_ratio(counts, shares)`: the p-value of the chi-square test, $\chi^2 = \sum_a (n_a - n s_a)^2 / (n s_a)$ with one degree
# of freedom less than there are arms. `torch.special.gammaincc(degrees / 2, chi2 / 2)` is the probability of a
# $\chi^2$ at least as large.


# %%
def sample_ratio(counts, shares):
    return None  # your code here


done = SAMPLE_RATIO.check(sample_ratio)


# %% jupyter={"source_hidden": true} tags=["solution"]
def sample_ratio(counts, shares):
    expected = shares.double() * counts.sum()
    chi2 = ((counts - expected) ** 2 / expected).sum()
    degrees = torch.tensor(len(counts) - 1.0, dtype=torch.float64)
    return torch.special.gammaincc(degrees / 2, chi2 / 2)


assert SAMPLE_RATIO.check(sample_ratio)

# %% [markdown]
# ## What to remember
#
# - A request: store → extractor ($K'_u$ vectors) → $K'_u$ searches, 1,000 candidates → ranker → rule → page. A click is one
#   row in the store, and counts with the next request.
# - Every stage has a budget and something that stands in. The answer says what was replaced; count it.
# - Read an A/B test in this order: sample ratio, A/A, the number of looks that was planned, and then the difference, with an
#   interval *over users*.
# - Two trainings of one model differ as well. An interval over users does not know that.
# - Clicks are looks times attraction. Divide by the looks.
# - A version is whole or it is not there. The gate asks what was read back from disk; the pointer moves in one step, and back in
#   one step.

# %%
rest.close()
seconds = time.perf_counter() - started
path = write_metrics(
    "06_deployment",
    {
        "seconds": seconds,
        "milliseconds": middle,
        "rankers": {n: {"auc": j.quality.auc, "gauc": j.quality.gauc} for n, j in rankers.items()},
        "ctr": {name: r.value for name, r in rates.items()},
        "ctr, users of one interest": {name: r.value for name, r in alone.items()},
        "searches": searches,
        "findings": {f.text: f.found for f in findings},
        "a/a below 0.05": false,
        "refresh": {name: {"recall": w.recall, "seconds": w.seconds} for name, w in table.items()},
    },
)
print(
    f"{seconds:.0f} seconds ({time.process_time():.0f} of a processor's time) on {torch.get_num_threads()} threads; the metrics are in {path.name}"
)
