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
# After this notebook, you can formulate multi-interest recommendation as three functions, turn films and users into
# vectors, and explain why one vector per user needs a large dimension and why a recommender's first stage searches an
# index. Reading takes 20 minutes, running one to three.
#
# *The paper* is "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall" (CIKM 2019, arXiv
# 1904.08030), and **MIND** is its model. Equation and § numbers are the paper's. In our data, MovieLens-1M, a rating of
# 4 or more is an interaction. Claims carry a badge: **Paper** (from the paper), **Measured here** (ranges in
# parentheses are 95 % intervals) or **Open** (unanswered).

# %% tags=["parameters"]
worlds: int = 100  # random worlds for each dimension in section 4
seed: int = 0  # for the trained item vectors and the random worlds

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import math
import time

from mindlib.lessons.common.report import Number, check_parameters, save_figure, write_metrics

check_parameters(
    globals(), {"worlds": Number(20, 2000, whole=True), "seed": Number(0, 10**6, whole=True)}
)
started = time.perf_counter()


import torch
from torch import nn
from torch.nn import functional as F

from mindlib.data import leave_last_out, load
from mindlib.evaluation import mean_estimate
from mindlib.layers.pooling import ItemEmbedding, ProfileEmbedding
from mindlib.lessons.common.architecture import architecture, show_architecture
from mindlib.lessons.common.films import (
    TASTES,
    example_case,
    genre_matrix,
    genres,
    reference_model,
)
from mindlib.lessons.common.page import show_source, show_table
from mindlib.lessons.common.style import COLORS, INK, use_style
from mindlib.lessons.common.widgets import frames
from mindlib.lessons.n00_problem import costs, figures
from mindlib.lessons.n00_problem.crowded import (
    CLUSTERS,
    PER_CLUSTER,
    chance,
    covered,
    crowded_worlds,
    fit_vector,
)
from mindlib.lessons.n00_problem.exercises import BREAK_EVEN, POOLING, SMALLEST_DIMENSION
from mindlib.retrieval import merge, score_by_best_interest, top_n

use_style()
_ = torch.manual_seed(seed)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
show_architecture()
_ = save_figure(architecture(), "00_architecture.svg")

# %% [markdown]
# **Figure 0.1.** From a user's history and profile, MIND computes several vectors, one for each interest (blue, orange,
# green). Training (purple) needs a label item, the target; serving (teal) searches the items. (After the paper's Fig.
# 2.)
#
# Behaviors (history items), labels and sampled items share embedding tables. *Behavior-to-interest (B2I) routing*
# groups a user's $n$ behaviors into $K'_u$ vectors, the interest capsules (notebooks 01 and 02). ReLU layers map each
# capsule, concatenated with the profile vector $\vec p_u$, to an *interest vector*. In **training**, *label-aware
# attention* combines the interest vectors into one *user vector* for the label (notebook 03), and a sampled softmax
# compares the label with $m$ sampled items (notebook 04). In **serving**, each interest vector searches an index, and
# the results are merged.
#
# In the figure, $f$ is the number of profile fields, $|\mathcal I|$ the number of items and $p$ an exponent; ANN means
# approximate nearest neighbors. Interest vectors are rows of $\mathbf V_u$ in the figure and in code, but, as in the
# paper, columns in equations. Our films have genres and a decade instead of the paper's category and brand.
#
# ## 1. One user and one label item
#
# An instance is a triple $(\mathcal I_u, \mathcal P_u, \mathcal F_i)$: the user's **behaviors** and **profile**, and
# the **features** of a target item, the label (§3.1). The behaviors are a set without order or timestamps, so former
# tastes count as much as current ones.
#
# All notebooks follow one real user, chosen because their history contains several films of each of three tastes:
# Film-Noir, Animation and War. A film with exactly one of these genres belongs to that taste.

# %%
log = load("movielens-1m")
split = leave_last_out(log)  # the last film of each user is held out as the test label
case = example_case(split)
user = split.test.histories.select(slice(case, case + 1)).window(50)
films = user.items[0, user.mask[0]]
label = int(split.test.targets[split.test.offsets[case]])

# %% jupyter={"source_hidden": true} tags=["hide-input"]
has, genre_names = genre_matrix(log)
of_taste = torch.from_numpy(has[:, [genre_names.index(taste) for taste in TASTES]])
is_pure = of_taste.sum(1) == 1
taste_of = torch.where(is_pure, of_taste.int().argmax(1), -1)  # of each film of the catalog
taste = taste_of[films]
number = int(split.test.histories.users[case])
profile_text = ", ".join(log.profiles.names(field)[number] for field in log.profiles.columns)


def titles(items, most=5):
    return "; ".join(log.titles[int(item)] for item in items[:most]) + (
        f"; … ({len(items)} films)" if len(items) > most else f" ({len(items)} films)"
    )


show_table(
    ("", f"user {number}"),
    [
        ("$\\mathcal P_u$", profile_text),
        *((f"$\\mathcal I_u$, {name}", titles(films[taste == k])) for k, name in enumerate(TASTES)),
        ("$\\mathcal I_u$, others", titles(films[taste < 0])),
        ("$\\mathcal F_i$", f"{log.titles[label]}: {genres(log, label)}; "
         f"{log.item_features.names('decade')[label]}"),
    ],
    text_columns=2,
)  # fmt: skip
assert all((taste == k).sum() > 1 for k in range(3))

# %% [markdown]
# ## 2. From ids to vectors
#
# ### 2.1 An item is a mean of embeddings
#
# An item enters the model as the ids of the film itself, its genres and its decade. Each id has a row in a table of
# learned vectors, and the rows of an item are **averaged** (§3.2). For example, let the dimension be $d = 2$. The genre
# rows $(0, 3)$ and $(2, 5)$ have the mean $(1, 4)$. With the id row $(2, -1)$ and the decade row $(3, 0)$, the item's
# vector is $\tfrac13(2+1+3,-1+4+0)=(2,1)$. In general,
#
# $$\vec e_i=f_{item}(\mathcal F_i)=\frac{1}{|\mathcal F_i|}\sum_{f\in\mathcal F_i}\vec t_f\in\mathbb R^{d},\tag{2}$$
#
# where $\vec t_f$ is the row of feature $f$. A feature with several values, such as the genre, counts once, as the mean
# of its rows.


# %%
class ItemTables(nn.Module):
    """f_item: the mean of the embeddings of a film's id, genres and decade (Eq. 2)."""

    def __init__(self, genres, decades, d):
        super().__init__()
        self.genres, self.decades = genres, decades  # codes of each film; row 0 is padding
        self.id = nn.Embedding(len(genres), d, padding_idx=0)
        self.genre = nn.Embedding(int(genres.max()) + 1, d, padding_idx=0)
        self.decade = nn.Embedding(int(decades.max()) + 1, d, padding_idx=0)
        for table in (self.id, self.genre, self.decade):
            nn.init.normal_(table.weight, std=(3 / d) ** 0.5)
            table.weight.data[0] = 0

    def forward(self, i):
        count = (self.genres[i] > 0).sum(-1, keepdim=True).clamp(min=1)
        genre = self.genre(self.genres[i]).sum(-2) / count  # a film has one to six genres
        return (self.id(i) + genre + self.decade(self.decades[i])) / 3


# %% jupyter={"source_hidden": true} tags=["hide-input"]
features = log.item_features
genre_codes = torch.from_numpy(features.codes[:, features.columns["genre"]])
decade_codes = torch.from_numpy(features.column("decade"))
ours = ItemTables(genre_codes, decade_codes, d=64)
theirs = ItemEmbedding(log.num_items, 64, features, generator=torch.Generator())
with torch.no_grad():
    tables = [ours.id.weight, ours.genre.weight[1:], ours.decade.weight[1:]]
    theirs.weight.copy_(torch.cat(tables))
    all_films = torch.arange(log.num_items + 1)
    assert torch.allclose(ours(all_films), theirs(all_films), atol=1e-6)
print(f"ItemTables equals ItemEmbedding of our library mindlib on all {log.num_items:,} films.")

# %% [markdown]
# **Predict**: the tables are still random. What is the cosine between two films that share all genres and the decade,
# or only the decade?

# %%
f_item = ItemTables(genre_codes, decade_codes, d=256)
with torch.no_grad():
    unit = F.normalize(f_item(all_films[1:]), dim=1)
has_genre = torch.from_numpy(has[1:]).float()
same_genres = torch.cdist(has_genre, has_genre) == 0
same_decade = decade_codes[1:, None] == decade_codes[1:]
for name, pairs in {
    "all genres and the decade": same_genres & same_decade,
    "only the decade": same_decade & (has_genre @ has_genre.T == 0),
}.items():
    print(f"films that share {name}: mean cosine {(unit @ unit.T)[pairs.triu(1)].mean():.2f}")

# %% [markdown]
# Items that share features are closer together than others even before training: the cosine is about 2/3 if they share
# two of the three averaged rows and about 1/3 if they share one.
#
# The paper uses features besides the id because they help **cold** items, which have no interactions yet. If the
# untrained id row of a new film is set to zero, the film's vector $\tfrac13(\text{genre}+\text{decade})$ points roughly
# in the direction of films with the same genres and decade. However, new films with identical genres and decade get
# identical vectors. **Open**: are new films retrieved, although the zero row probably reduces their vectors' norms?
#
# The paper gives no reason for the mean. We see two: a mean has the user vectors' dimension $d$, as the inner product
# requires, and $d$ does not grow with the number of features, which limits memory for the billion item vectors of a
# large platform.
#
# ### Exercise 1: missing features
#
# For a `table` of shape (rows, d) and row numbers `codes` of shape (items, fields), return each item's mean row as a
# tensor of shape (items, d). Ignore fields with code 0 ("unknown"); for an item without known fields, return zeros.


# %%
def pool(table, codes):
    return None  # your code


checked = POOLING.check(pool)


# %% jupyter={"source_hidden": true} tags=["solution"]
def pool(table, codes):
    known = (codes > 0)[:, :, None]
    return (table[codes] * known).sum(1) / known.sum(1).clamp(min=1)


assert POOLING.check(pool)

# %% [markdown]
# ### 2.2 A profile is a concatenation
#
# The embeddings of the three profile fields, 8 numbers each, are **concatenated** into $\vec p_u$ (§3.2). This vector
# enters only the ReLU layers, which can weight each field separately. It enters no inner product with items, so its
# dimension need not be $d$.


# %%
class ProfileTables(nn.Module):
    """p_u: the concatenated embeddings of gender, age and occupation (§3.2)."""

    def __init__(self, sizes, d=8):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, d) for size in sizes)

    def forward(self, profile):
        return torch.cat([table(profile[:, f]) for f, table in enumerate(self.tables)], dim=1)


print(ProfileTables(log.profiles.sizes)(user.profile).shape)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
ours = ProfileTables(log.profiles.sizes)
theirs = ProfileEmbedding(log.profiles.sizes, 8, generator=torch.Generator())
with torch.no_grad():
    theirs.weight.copy_(torch.cat([table.weight for table in ours.tables]))
    everybody = torch.from_numpy(log.profiles.codes)
    assert torch.equal(ours(everybody), theirs(everybody))
print(f"ProfileTables equals mindlib's ProfileEmbedding on all {log.num_users:,} users.")

# %% [markdown]
# ## 3. A user is several vectors
#
# **An item's score is its largest inner product with the user's vectors.** For example, let a user have the vectors
# $\vec v^1 = (2, 0)$ and $\vec v^2 = (0, 2)$. Item $a = (1, 0)$ scores $\max(2, 0) = 2$, $b = (0, 1)$ also scores 2,
# and $c = (0.8, 0.8)$ only 1.6. The mean of the two vectors, $(1, 1)$, gives the items scores of 1, 1 and 1.6. It ranks
# $c$ first, although $c$ belongs to neither interest. Averaging an item's two inner products is no better, because it
# equals scoring with the mean vector. Formally,
#
# $$\mathbf V_u=f_{user}(\mathcal I_u,\mathcal P_u)=(\vec v_u^{\,1},\dots,\vec v_u^{\,K})\in\mathbb R^{d\times K},\tag{1}$$
#
# $$f_{score}(\mathbf V_u,\vec e_i)=\max_{1\le k\le K}\vec e_i^{\,\top}\vec v_u^{\,k}.\tag{3}$$
#
# Here, $K$ is the number of this user's vectors; Figure 0.1 calls this number $K'_u$ and its maximum $K$. In code, the
# mask `active` marks the $K'_u$ used rows.


# %%
def score(V, active, e):
    """Eq. 3: the score of each item is its maximum over the user's interests."""
    scores = V @ e.T  # (B, K, items)
    return scores.masked_fill(~active[:, :, None], -torch.inf).amax(1)


V = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])  # (1, 2, 2): one user
items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.8]])  # a, b, c
print(score(V, torch.tensor([[True, True]]), items))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
random_V, random_e = torch.randn(50, 4, 8), torch.randn(200, 8)
some = torch.rand(50, 4) < 0.7
some[:, 0] = True
exact = score(random_V, some, random_e)
assert torch.allclose(exact, score_by_best_interest(random_V, some, random_e), atol=1e-6)
each = top_n((random_V @ random_e.T).masked_fill(~some[:, :, None], -torch.inf).flatten(0, 1), 10)
merged = merge(each.items.unflatten(0, (50, 4)) + 1, each.scores.unflatten(0, (50, 4)), 10)
assert torch.equal(merged.items - 1, top_n(exact, 10).items)
print(
    "score equals mindlib's score_by_best_interest, and merging the vectors' lists gives the same top 10."
)

# %% [markdown]
# **Try**: multiply the second vector by 3 (`V[0, 1] *= 3`) and rank again. The order becomes $b$, $c$, $a$. With one
# vector, scaling by a positive number preserves the ranking. With several, however, **the norms affect how the
# interests share the list**.
#
# To find the $N$ best items by Eq. 3, search an index for $N$ items per vector, merge the lists, and keep each item's
# best score. Exact searches miss no item: an item outside its best vector's list scores no higher than the $N$ items in
# that list, so those can take its place.
#
# ### The real user, with one vector and with three
#
# The recommender YouTube DNN has one vector per user and averages all behaviors. MIND uses routing to *group* the
# behaviors and averages each group. Here, the groups are the user's three tastes, and the single vector is the mean of
# all films in these groups. We omit both models' ReLU layers and the details of routing.


# %%
def f_user(e, group, K):
    """Eq. 1 with known groups: interest k is the mean of the behaviors in group k."""
    w = F.one_hot(group, K).T.float()  # (K, n): the weight of behavior i in interest k
    return (w / w.sum(1, keepdim=True)) @ e  # (K, d)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
# Item vectors of a MIND that notebooks share; 04 explains the training, which takes half a minute.
model = reference_model(split, seed)
catalog = model.item_vectors()

# %% [markdown]
# The cell above trains a MIND model. Row $i$ of `catalog` is the trained $\vec e_i$. For each of the user's films,
# `taste` is 0 (Film-Noir), 1 (Animation), 2 (War) or −1 (others).

# %%
chosen = films[taste >= 0]
e, group = catalog[chosen], taste[taste >= 0]
one_vector = f_user(e, torch.zeros_like(group), K=1)
three_vectors = f_user(e, group, K=3)
unseen = torch.ones(len(catalog), dtype=torch.bool)
unseen[films] = unseen[0] = False  # row 0 is padding
scores = torch.cat([one_vector, three_vectors]) @ catalog.T
scores = scores.masked_fill(~unseen, -torch.inf)  # (4, items)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
names = ("one vector", *(f"vector {k + 1}: {name}" for k, name in enumerate(TASTES)))
tops = [row.topk(5).indices.tolist() for row in scores]
show_table(
    names,
    [[f"{log.titles[i]} ({genres(log, i)})" for i in row] for row in zip(*tops, strict=True)],
    text_columns=4,
)
one_list, merged_list = (part.amax(0).topk(50).indices for part in (scores[:1], scores[1:]))
of_each = [int((scores[1:].argmax(0)[merged_list] == k).sum()) for k in range(3)]
print(f"the best 50 films with three vectors: {of_each} from vectors 1 to 3; "
      f"{int((~torch.isin(merged_list, one_list)).sum())} are not in the best 50 with one vector")  # fmt: skip
for name, part in {"one vector": scores[:1], "three vectors": scores[1:]}.items():
    best = part.amax(0)
    rank = 1 + int((best > best[label]).sum())
    print(f"the label, {log.titles[label]}: rank {rank} of {int(unseen.sum()):,} with {name}")

# %% [markdown]
# **Measured here**, for this user: three vectors replace 21 of the best 50 films, but the label moves only from
# rank 75 to 63. A vector may miss its own taste: the five best films of the film-noir vector, for example, are all
# science fiction. Notebook 05 compares one vector with several over all users, and [the demo](../docs/demo.md) (`make
# demo site`) does so for films you choose.
#
# ## 4. Why one vector fails
#
# ### 4.1 In the plane
#
# Place the three tastes 120 degrees apart on a circle, with two films each, and six other films in the gaps. All films
# have norm 1, so a vector's list of its six best films contains those nearest in angle. A taste is covered if both of
# its films are in the list.
#
# **Predict**: what is the largest number of tastes that one vector can cover? Then rotate the vector with the slider.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
NAMES = ("film noir", "animation", "war")
degrees = torch.tensor([85, 95, 205, 215, 325, 335, 25, 35, 145, 155, 265, 275])
place_of = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3])


def on_circle(degrees):
    radians = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float32))
    return torch.stack([radians.cos(), radians.sin()], dim=-1)


points = on_circle(degrees)
centers = on_circle([90, 210, 330])


def covered_tastes(vectors):
    best = (vectors @ points.T).amax(0).topk(6).indices
    in_list = torch.isin(torch.arange(12), best)
    return in_list, int(sum(in_list[place_of == k].all() for k in range(3)))


def draw_circle(direction):
    panels = []
    for name, vectors in {"one vector": on_circle([direction]), "three vectors": centers}.items():
        in_list, count = covered_tastes(vectors)
        panels.append((f"{name}: {count} of 3 tastes", in_list.numpy(), vectors.numpy()))
    return figures.circles(points.numpy(), place_of.numpy(), NAMES, panels, [*COLORS[:3], INK])


frames(
    draw_circle,
    "Twelve films on a circle; the six in the list are filled.",
    {"direction": 30},
    direction=range(0, 360, 30),
)

# %% [markdown]
# **Figure 0.2.** In two dimensions, a single vector covers at most two of three tastes; three vectors cover all.
# Filled: the list.

# %%
print("most tastes covered by any of 3,600 directions:",
      max(covered_tastes(on_circle([angle / 10]))[1] for angle in range(3600)))  # fmt: skip

# %% [markdown]
# **In any dimension, an item between two liked items scores at least as high as the lower-scoring of the two**, unless
# the lower score is negative. Let the item $\vec c=\alpha\vec a+\beta\vec b$ with $\alpha,\beta\ge0$ lie between the
# liked items $\vec a$ and $\vec b$, all of norm 1. By the triangle inequality, $1=|\vec c|\le\alpha+\beta$. If a
# user vector $\vec v$ gives $\vec a$ and $\vec b$ nonnegative scores, it follows that
#
# $$\vec v^\top\vec c=\alpha\,\vec v^\top\vec a+\beta\,\vec v^\top\vec b
# \ge(\alpha+\beta)\min(\vec v^\top\vec a,\vec v^\top\vec b)\ge\min(\vec v^\top\vec a,\vec v^\top\vec b).$$
#
# ### 4.2 With more dimensions
#
# **Paper**: one vector per user is a bottleneck, because its dimension must be large to express many interests (§1).
#
# Let $M$ clusters of items have random directions, and let the user like $c$ of them. If the liked directions are
# orthogonal, their mean has a cosine of $1/\sqrt c$ with each of them. Its cosine with any other cluster is random with
# standard deviation $1/\sqrt d$, so the largest of $M$ such cosines is about $\sqrt{2 \ln M / d}$. The liked clusters
# are retrieved if their cosine exceeds that of every other cluster:
#
# $$\frac{1}{\sqrt c}>\sqrt{\frac{2\ln M}{d}}\quad\Longleftrightarrow\quad d>2\,c\ln M.$$
#
# If each interest has its own vector, the rule applies with $c=1$. Therefore, **by this rule, a single vector needs $c$
# times the dimension of separate vectors.** We test the rule in *random worlds*, each with $M = 60$ clusters of eight
# items; the user likes $c = 4$ clusters. The rule predicts about $d = 33$ for one vector and $d = 8$ for four. The list
# has 32 items, as many as the liked clusters contain. A cluster is now **covered** if at least half of its
# items are in the list.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
LIKED = 4


def draw_scores(d):
    items = crowded_worlds(d, 1, seed=seed)
    means = items[:, :LIKED].mean(2)
    vectors = {"one vector, the mean": means.mean(1, keepdim=True), "four vectors": means}
    rows = {}
    for name, v in vectors.items():
        v = F.normalize(v, dim=2)
        count = int(covered(v, items, LIKED))
        scores = (v @ items.flatten(1, 2).mT).amax(1)[0]
        rows[f"{name}:\n{count} of {LIKED} covered"] = scores.numpy()
    return figures.strips(rows, LIKED, PER_CLUSTER, f"d = {d}")


frames(
    draw_scores,
    "Ranks of the liked items and of all others, for one user vector and for four.",
    {"d": 8},
    d=[2, 4, 8, 16, 32, 64, 128],
)

# %% [markdown]
# **Figure 0.3.** As the dimension $d$ grows (move the slider), the liked items fill the list; four vectors need a much
# smaller $d$ than their mean. Each $d$ has its own random world. Filled: in the list. Colored: the four liked clusters,
# one per row.
#
# Figure 0.4 averages over many worlds. It adds a single vector *fitted to the answer*: this vector minimizes a softmax
# loss on the liked items, which are unknown in advance.

# %%
dims = (2, 4, 8, 12, 16, 24, 32, 48, 64)
curves = {"four vectors": [], "one vector, fitted to the answer": [], "one vector, the mean": []}
user_vectors = {}
for d in dims:
    clusters = crowded_worlds(d, worlds, seed=seed)  # (worlds, 60, 8, d)
    means = F.normalize(clusters[:, :LIKED].mean(2), dim=2)  # (worlds, 4, d)
    user_vectors[d] = [means, fit_vector(clusters, LIKED), means.mean(1, keepdim=True)]
    for row, v in zip(curves.values(), user_vectors[d], strict=True):
        row.append(mean_estimate(covered(v, clusters, LIKED)))
liked = {"four vectors": 1, "one vector, the mean": LIKED}  # clusters for each vector
rule = {name: 2 * c * math.log(CLUSTERS) for name, c in liked.items()}
figure = figures.coverage(curves, dims, LIKED, rule)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
_ = save_figure(figure, "00_dimensions.svg")
enough = {}
for name, row in curves.items():
    first = next(k for k, estimate in enumerate(row) if estimate.value > 0.9 * LIKED)
    enough[name] = dims[first]
    print(f"{name}: {row[dims.index(8)]} clusters covered at d = 8; "
          f"nine tenths reached at d = {dims[first]}, with {row[first]}")  # fmt: skip
print(f"a random list covers {chance(LIKED):.3f}")
centers = F.normalize(crowded_worlds(32, worlds, seed=seed).mean(2), dim=2)  # (worlds, 60, d)
for name, v in [*zip(curves, user_vectors[32], strict=True)][1:]:
    cosines = (centers * F.normalize(v, dim=2)).sum(2)
    print(f"d = 32, {name}: cosine of {cosines[:, :LIKED].amin(1).mean():.2f} with the farthest liked "
          f"cluster, {cosines[:, LIKED:].amax(1).mean():.2f} with the nearest other cluster")  # fmt: skip

# %% [markdown]
# **Figure 0.4.** At $d = 8$, four vectors cover almost all liked clusters (3.99 of four), whereas even the fitted
# vector covers only 1.57; a random list covers 0.004. Error bars: 95 % intervals over 100 worlds.
#
# **Measured here**: among the tested dimensions, four vectors cover at least 90 % of the liked
# clusters from $d = 8$, the fitted vector from 24 and the mean from 48. At $d = 2$, four vectors cover
# fewer clusters than either single vector.
#
# The mean needs a larger dimension than the rule's 33. Random directions are not exactly orthogonal, so the farthest
# liked cluster has a lower cosine than the rule's $1/\sqrt 4$: at $d = 32$, it is 0.37, below that of the nearest other
# cluster (0.40). The fitted vector needs fewer dimensions than the mean, because its cosine with the nearest other
# cluster is only 0.22.
#
# One vector with a larger $d$ also works but is expensive. For $10^9$ items in float32, $d = 256$ instead of 64 raises
# the memory for the item vectors from 256 to 1,024 GB and the cost of each inner product fourfold. Four vectors of
# $d = 64$ need no additional memory for items but require four index searches. **Open**: does the rule hold for
# trained item vectors, whose directions are not random?
#
# ### Exercise 2 (experiment): the dimension that one vector needs
#
# **Predict** the dimensions needed for 2, 4 and 8 liked clusters. Then return, as a tensor, the smallest of
# `DIMENSIONS` at which the mean covers at least nine tenths of the liked clusters, on average over
# `crowded_worlds(d, 50)`.

# %%
show_source(covered)
DIMENSIONS = (4, 8, 16, 32, 64, 128)


def smallest_dimension(liked):
    return None  # your code: crowded_worlds(d, 50)[:, :liked] are the items of the liked clusters


checked = SMALLEST_DIMENSION.check(smallest_dimension)


# %% jupyter={"source_hidden": true} tags=["solution"]
def smallest_dimension(liked):
    for d in DIMENSIONS:
        items = crowded_worlds(d, 50)
        mean = items[:, :liked].mean((1, 2))[:, None]  # (worlds, 1, d)
        if covered(mean, items, liked).mean() >= 0.9 * liked:
            return torch.tensor(d)


assert SMALLEST_DIMENSION.check(smallest_dimension)
print([int(smallest_dimension(liked)) for liked in (2, 4, 8)])

# %% [markdown]
# The dimension doubles when $c$ doubles, as the rule predicts. However, this test is coarse, because `DIMENSIONS`
# contains only powers of two: $c = 4$ gives 64, although 48 suffices in Figure 0.4.
#
# ## 5. The cost of scoring a billion items
#
# MIND is a model for **matching**, which selects thousands of items. In **ranking**, a larger network then scores each
# of them. **Paper**: matching takes less than 15 ms for a billion items (§5). We use this time as a limit.
#
# We assume that a request takes as long as the slower of two processes: reading from memory and computing. A scan of
# $n$ item vectors, each with $d$ numbers of $b$ bytes, reads $n\,d\,b$ bytes once for all $K$ interest vectors. It
# performs $2Kn\,d$ floating-point operations (FLOP), a multiplication and an addition for each number and interest
# vector. For $n=10^9$, $d=64$ and float32, the costs are:

# %%
bandwidth, speed = 2e12, 20e12  # assumed bytes and FLOP per second: a GPU with enough memory


def scan(n, d, K=1, b=4):
    """Bytes and FLOP of the inner products of K queries with n vectors, in one pass."""
    return n * d * b, 2 * K * n * d


for K in (1, 4):
    size, flop = scan(10**9, 64, K)
    print(f"K = {K}: {size / 1e9:.0f} GB in {1000 * size / bandwidth:.0f} ms, "
          f"{flop:.2g} FLOP in {1000 * flop / speed:.1f} ms")  # fmt: skip

# %% [markdown]
# **The scan is memory-bound.** With $K = 1$, it performs half a FLOP for each byte, whereas the assumed machine can
# perform ten. Therefore, four vectors (two FLOP per byte) take no longer than one. A scan takes 8.5 times the limit, so
# the items must be split over nine machines.
#
# Figure 0.5 adds other methods. An **inverted file** is an index listing each item under the nearest of
# $\sqrt n$ cluster centers. A search compares each interest vector with all centers, then with the items under the 32
# nearest.
#
# An **attention network** like DIN (section 6) weights 50 behaviors for each candidate. With $4d$ inputs per behavior
# and 36 hidden units, it needs $2\cdot50\,(4d\cdot36+36+d)\approx0.93$ million FLOP per candidate. **TDM** (section 6)
# applies this network to a binary tree of items: starting from $10^3$ nodes, it scores 2,000 children on each of
# $\log_2(10^9/10^3)\approx20$ levels and keeps the best 1,000.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
n, d = 10**9, 64
work = {
    "attention network, every item": costs.attention_network(n, d),
    "scan, one vector, d = 256": scan(n, 256),
    "scan, four vectors, d = 64": scan(n, d, K=4),
    "scan, one vector, d = 64": scan(n, d),
    "attention network, tree of items (TDM)": costs.tree(n, d),
    "inverted file, four vectors": costs.inverted_file(n, d, K=4),
}
times = {name: (1000 * b / bandwidth, 1000 * f / speed) for name, (b, f) in work.items()}
_ = save_figure(figures.costs(times, limit=15), "00_costs.svg")

# %% [markdown]
# **Figure 0.5.** Only methods that read a small part of the items meet the limit of 15 ms. Inner products are limited
# by reading, attention networks by computing. All times are calculated, not measured; any accuracy lost through an
# index is ignored.
#
# ### Exercise 3: when computing becomes the bottleneck
#
# For which $K$ does a scan spend as long on computing as on reading? Each number occupies `size` bytes. Return $K$ as a
# tensor, without rounding.


# %%
def break_even(size, bandwidth, speed):
    return None  # your code


checked = BREAK_EVEN.check(break_even)


# %% jupyter={"source_hidden": true} tags=["solution"]
def break_even(size, bandwidth, speed):
    return torch.tensor(size * speed / (2 * bandwidth))  # 2 K n d / speed = n d size / bandwidth


assert BREAK_EVEN.check(break_even)

# %% [markdown]
# ## 6. Attention for each candidate cannot use a vector index
#
# A network that takes the user and a candidate as joint input is more expressive than Eq. 3. DIN (Deep Interest
# Network), for example, weights each behavior by its relevance to the candidate. **Paper**: DIN weights behaviors and
# suits ranking, whereas MIND forms interest vectors and suits matching; both capture diverse interests (§3.6). The next
# cell weights behaviors with inner products instead of DIN's network.


# %%
def attend(e_history, e_candidate):
    w = (e_history @ e_candidate).softmax(0)  # the weight of each behavior
    return w @ e_history


candidates = catalog[[tops[1][0], tops[2][1]]]  # a science-fiction film and an animated film
seen_from = [attend(catalog[films], candidate) for candidate in candidates]
print(f"cosine of the two user vectors: {F.cosine_similarity(*seen_from, dim=0):.2f}")

# %% [markdown]
# The user vector depends on the candidate, whereas a vector index needs a fixed query. Therefore, each of the billion
# items would need its own forward pass. Eq. 1, by contrast, computes $\mathbf V_u$ once for all items.
#
# A **tree**, however, can be searched with an arbitrary scorer. In TDM (Tree-based Deep Model, KDD 2018, arXiv
# 1801.02294), the items are the leaves of a tree that is learned together with the scorer, and beam search scores a
# number of nodes that grows with the logarithm of the number of items.
#
# If attention puts all weight on the best-matching behavior, the score becomes Eq. 3 with *every behavior as an
# interest*. MIND instead compresses the $n$ behaviors into a few interests.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
seconds = time.perf_counter() - started
path = write_metrics(
    "00_problem_formalization",
    {
        "worlds": worlds,
        "seed": seed,
        "covered": {name: list(row) for name, row in curves.items()},
        "dimensions": list(dims),
        "enough": enough,
        "milliseconds": {name: max(ms) for name, ms in times.items()},
        "seconds": seconds,
    },
)
print(f"{seconds:.0f} s; metrics in {path.name}")
