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
# # 02 · B2I routing
#
# By the end, you can write MIND's multi-interest extractor (§3.3) from memory and explain each line. With three
# changes, you turn notebook 01's dynamic-routing loop into behavior-to-interest (B2I) routing. You add the user profile
# and ReLU layers, and see two ways interests can collapse.
#
# MIND ([Li et al., CIKM 2019](https://arxiv.org/abs/1904.08030)) retrieves items with several vectors per user.
# Section and equation numbers are the paper's; the films are those of MovieLens-1M. We label statements as **Paper**
# or **Measured here** (with 95 % intervals) and questions that the paper leaves open as **Open**.

# %% tags=["parameters"]
draws: int = 300  # simulated users for each point of Figure 2.4, at least 100

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import time

from mindlib.lessons.common.report import Number, check_parameters, save_figure, write_metrics

check_parameters(globals(), {"draws": Number(100, 5000, whole=True)})
started = time.perf_counter()

import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

import mindlib
from mindlib.data import leave_last_out, load
from mindlib.evaluation import mean_estimate
from mindlib.layers import routing
from mindlib.layers.routing import B2IRouting, RoutingConfig
from mindlib.lessons.common import films
from mindlib.lessons.common.architecture import show_architecture
from mindlib.lessons.common.page import show_table
from mindlib.lessons.common.style import use_style
from mindlib.lessons.n02_b2i.exercises import ONE_ITERATION, REPEATABILITY
from mindlib.lessons.n02_b2i.figures import (
    collapse_map,
    films_and_interests,
    rounds_in_the_plane,
)
from mindlib.lessons.n02_b2i.planted import diagnose, planted_users
from mindlib.lessons.n02_b2i.steps import report_equality, show_diff

use_style()
equal = {}  # whether each part equals mindlib's

# %%
show_architecture("routing", "concatenation", "head")

# %% [markdown]
# **Figure 2.1.** The multi-interest extractor (blue boxes) turns the embeddings of a user's $n$ behaviors and of the
# profile into at most $K$ interest vectors. For our films, genres and decade replace category and brand.
#
# ## A user with three tastes
#
# All notebooks follow one user, chosen for three tastes: film noir, animation and war films. The next cell trains a
# MIND model, unless another notebook already has, and looks up the vectors $\vec e_i$ of this user's films.

# %%
log = load("movielens-1m")
split = leave_last_out(log)
case = films.example_case(split)
user = split.test.histories.select(slice(case, case + 1))
reference = films.reference_model(split)
history = user.window(int(user.lengths))
items = history.items[0]
e = reference.items(items).detach()  # (n, d)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
S = reference.routing.bilinear_map.detach()
print(f"{len(e)} films in {e.shape[1]} dimensions")
show_table(
    ["the last films", "genres"],
    [[log.titles[i], films.genres(log, i)] for i in items[-8:].tolist()],
    text_columns=2,
)

# %% [markdown]
# Routing is a soft clustering of behaviors (here film vectors, called low-level capsules) into interests (high-level
# capsules). Behavior $i$ has a learned matrix $\mathbf{S}_{ij}$, a *vote* $\mathbf S_{ij}\vec e_i$ and a *logit*
# $b_{ij}$ for interest $j$. The softmax over the interests turns a behavior's logits into weights $w_{ij}$, which sum
# to 1. Interest $j$ is the sum $\vec z_j$ of the weighted votes, scaled (*squashed*) to a norm below 1:
#
# $$\vec u_j = \operatorname{squash}(\vec z_j) = \frac{\|\vec z_j\|^2}{1 + \|\vec z_j\|^2}\, \frac{\vec z_j}{\|\vec z_j\|} \tag{7}$$
#
# Each of $r$ iterations ends by adding the *agreement* $\vec u_j^{\,\mathsf T}\mathbf S_{ij}\vec e_i$ (Eq. 4) to the
# logit. In the loop of notebook 01, `votes`, `b` and `w` have a row for each interest and a column for each behavior:

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# From the notebooks before: the embeddings of films and profiles (00), and squash (01).
features = log.item_features
genres = torch.from_numpy(features.codes[:, features.columns["genre"]])
decades = torch.from_numpy(features.column("decade"))


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


class ProfileTables(nn.Module):
    """p_u: the concatenated embeddings of gender, age and occupation (§3.2)."""

    def __init__(self, sizes, d=8):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, d) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=d**-0.5)

    def forward(self, profile):
        return torch.cat([table(profile[:, f]) for f, table in enumerate(self.tables)], dim=1)


def squash(z):
    square = (z * z).sum(-1, keepdim=True)
    return square / (1 + square) * z / (square + 1e-30).sqrt()


# %%
def dynamic_routing(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        z = (w[:, :, None] * votes).sum(1)
        u = squash(z)
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% [markdown]
# ## First change: one matrix for all pairs
#
# [Sabour et al. (2017)](https://arxiv.org/abs/1710.09829) use a matrix $\mathbf S_{ij}$ for every pair of capsules.
# This suits images, where capsule $i$ always covers the same region. For behaviors, a matrix per position causes four
# problems:
#
# - **Size.** With 50 behaviors, 5 interests and $d = 64$ dimensions, separate matrices have
#   $50 \cdot 5 \cdot 64^2 = 1{,}024{,}000$ parameters; one shared matrix has 4,096.
# - **Length.** Behavior 51 has no matrix, and only long histories train the matrices of late positions.
# - **Space.** Separate matrices may put interests into different spaces, but all are compared with the same item
#   vectors.
# - **Order.** The result depends on the order of the films, but the history $\mathcal I_u$ is a set (§3.1).
#
# **Predict**: what is the cosine between each interest's vectors before and after shuffling the films?

# %%
torch.manual_seed(0)
K, (n, d) = 4, e.shape
S_pairs = torch.randn(K, n, d, d) / d**0.5  # a matrix for each interest and position
order = torch.randperm(n)
u, _ = dynamic_routing(torch.einsum("kixy,iy->kix", S_pairs, e), r=3)
shuffled, _ = dynamic_routing(torch.einsum("kixy,iy->kix", S_pairs, e[order]), r=3)
print("cosines after shuffling:", [f"{c:.2f}" for c in F.cosine_similarity(u, shuffled)])

# %% [markdown]
# A function that ignores the order would give 1; here, the cosines are at most 0.34. Sharing one matrix among all
# pairs solves all four problems (**Paper**: length and space):
#
# $$b_{ij} = \vec u_j^{\,\mathsf T}\, \mathbf S\, \vec e_i, \qquad i \in \mathcal I_u,\; j \in \{1, \dots, K\} \tag{8}$$
#
# Eq. 8 is printed with "=", but Algorithm 1 adds the agreement in every iteration. One line changes, and one is added:


# %%
def shared_routing(e, S, K, r):
    votes = (e @ S.T).expand(K, -1, -1)
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        z = (w[:, :, None] * votes).sum(1)
        u = squash(z)
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% jupyter={"source_hidden": true} tags=["hide-input"]
show_diff(dynamic_routing, shared_routing)
g = torch.Generator().manual_seed(0)
some_e, some_S = torch.randn(9, 6, generator=g), torch.randn(6, 6, generator=g)


def paper_routing(e, S, b, mask=None, **options):
    """mindlib's Algorithm 1 for a batch, and its map S with a gradient."""
    layer = B2IRouting(
        len(S), RoutingConfig.paper(max_interests=b.shape[1], **options), generator=g
    )
    layer.bilinear_map.data.copy_(S)
    return layer(e, torch.ones(e.shape[:2]).bool() if mask is None else mask, b), layer.bilinear_map


theirs, _ = paper_routing(some_e[None], some_S, torch.zeros(1, 3, 9))
mine = shared_routing(some_e, some_S, K=3, r=3)
pairs = [(mine[0], theirs.vectors[0]), (mine[1], theirs.coupling[0])]
equal["shared_routing"] = report_equality("shared_routing", pairs)

# %% [markdown]
# ## Second change: random initial logits
#
# With one shared matrix, logits that all start at 0 make all interests identical. **Claim**: if all rows of $b$ are
# equal, an iteration keeps them equal.
#
# 1. Equal rows give $w_{ij} = 1/K$ for every interest $j$, because the softmax runs over the interests.
# 2. Then $\vec z_j = \sum_i \frac1K \mathbf S \vec e_i$ does not depend on $j$, so $\vec u_1 = \dots = \vec u_K = \vec
#   u$.
# 3. The same $\vec u^{\mathsf T}\mathbf S\vec e_i$ is added to $b_{ij}$ for every $j$, so the rows stay equal. ∎
#
# By induction, if the logits start at 0, every weight stays $1/K$, and every interest stays
# $\operatorname{squash}(\frac1K \sum_i \mathbf S \vec e_i)$. Training cannot repair this, because all interests share
# $\mathbf S$ and all later layers.
#
# The remedy is random initialization, as in K-means (**Paper**): $b_{ij} \sim \mathcal N(0, \sigma^2)$, with $\sigma =
# 1$ recommended. Initial weights are near $1/K$ for small $\sigma$, and near 0 or 1 for large $\sigma$. Two lines
# change:


# %%
def random_routing(e, S, K, r, sigma):
    votes = (e @ S.T).expand(K, -1, -1)
    b = sigma * torch.randn(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        z = (w[:, :, None] * votes).sum(1)
        u = squash(z)
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% jupyter={"source_hidden": true} tags=["hide-input"]
show_diff(shared_routing, random_routing)
torch.manual_seed(1)
b = 2 * torch.randn(1, 3, 9)
theirs, _ = paper_routing(some_e[None], some_S, b, iterations=4)
torch.manual_seed(1)
mine = random_routing(some_e, some_S, K=3, r=4, sigma=2)
pairs = [(mine[0], theirs.vectors[0]), (mine[1], theirs.coupling[0])]
equal["random_routing"] = report_equality("random_routing", pairs)

# %% [markdown]
# In a toy example, twelve two-dimensional behaviors of norm 3 form three groups by direction, and
# $\mathbf S = \mathbf I$. **Predict**: with $\sigma = 0$, where do the three interests point after ten iterations?

# %%
angles = torch.tensor([8, 18, 24, 33, 70, 77, 85, 92, 140, 149, 155, 166]).deg2rad()
toy, r_values, rows = 3 * torch.stack([angles.cos(), angles.sin()], dim=1), (1, 2, 3, 5, 10), {}
for sigma in (0, 1):
    rows[f"σ = {sigma}"] = []
    for r in r_values:
        torch.manual_seed(0)  # the same logits for every r
        rows[f"σ = {sigma}"].append(random_routing(toy, torch.eye(2), K=3, r=r, sigma=sigma))
figure = rounds_in_the_plane(toy, rows, r_values)
_ = save_figure(figure, "02_plane.svg")

# %% [markdown]
# **Figure 2.2.** Interests separate only if their initial logits differ. With $\sigma = 0$ (top), the three arrows
# coincide after every iteration. With $\sigma = 1$ (bottom), the first weights are random; agreement then groups the
# behaviors by direction. Dots are behaviors, colored by their weights for the interests. Arrows are interests;
# their widths differ so that coinciding arrows stay visible.
#
# **Try**: delete `b +` in `random_routing`, then rerun its cell and the figure's. The agreements no longer accumulate,
# and two of the three interests stay almost parallel.
#
# ### Interests that change from request to request
#
# Algorithm 1 draws new logits in every call, so a user's interests and their order vary.
#
# **Exercise 2.1.** Write `repeatability(a, b)` for two sets of interests of shape $(K, d)$. For each interest, take the
# largest cosine with an interest of the other set. Average these cosines over each set, then average the two means.
# Predict the result for two calls to `random_routing` at $\sigma = 0$, $0.1$, $1$ and $5$.


# %%
def repeatability(a, b):
    return None


_ = REPEATABILITY.check(repeatability)


# %% jupyter={"source_hidden": true} tags=["solution"]
def repeatability(a, b):
    cosine = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return (cosine.amax(0).mean() + cosine.amax(1).mean()) / 2


_ = REPEATABILITY.check(repeatability)

# %%
torch.manual_seed(0)
behaviors, _ = planted_users(100, norm=4.0, generator=torch.Generator().manual_seed(0))
repeats = {}
for sigma in (0, 0.1, 1, 5):
    first, second = (
        [random_routing(x, torch.eye(16), 3, 3, sigma)[0] for x in behaviors] for _ in range(2)
    )
    repeats[sigma] = mean_estimate(torch.stack(list(map(repeatability, first, second))))
    print(f"σ = {sigma}: {repeats[sigma]}")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
baseline = [
    REPEATABILITY.solution(random_routing(x, torch.eye(16), 3, 3, 1)[0], x.mean(0, keepdim=True))
    for x in behaviors
]
repeats["baseline"] = mean_estimate(torch.stack(baseline))
print(f"baseline, σ = 1 against the mean of the behaviors: {repeats['baseline']}")

# %% [markdown]
# **Measured here**, on 100 simulated users with three clusters of seven behaviors: at $\sigma = 1$, repeatability
# (0.92) is about halfway between the baseline (0.82) and identical interests (1). The baseline compares the interests
# with the mean of the behaviors, which ignores the clusters. With $\sigma = 0$, interests repeat only because all are
# equal.
#
# **Open**: how can serving be made repeatable? Noise fixed for each position makes the interests depend on the order of
# the films. Outside training, `mindlib` therefore computes Gaussian logits from a hash of item and interest; however,
# bad logits are then permanent. Farthest-point initialization (below) needs no noise, but an outlier may become an
# interest. An evaluation may instead average metrics over several draws of logits.

# %% [markdown]
# ## Third change: the number of interests depends on the history
#
# MIND gives users with short histories fewer than $K$ interests, to save computation and memory (**Paper**):
#
# $$K'_u = \max\bigl(1, \min(K, \log_2 |\mathcal I_u|)\bigr) \tag{9}$$
#
# **Open**: Eq. 9 has no rounding rule. We round down; some public code rounds up or uses the natural logarithm.


# %%
def num_interests(n, K):
    """Eq. 9, rounded down."""
    return torch.log2(n.clamp(min=1)).floor().clamp(1, K)


def b2i_one_user(e, S, K, r, sigma):
    K = int(num_interests(torch.tensor(len(e)), K))
    votes = (e @ S.T).expand(K, -1, -1)
    b = sigma * torch.randn(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        z = (w[:, :, None] * votes).sum(1)
        u = squash(z)
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% jupyter={"source_hidden": true} tags=["hide-input"]
show_diff(random_routing, b2i_one_user)
lengths = torch.arange(1, 5000)
pairs = [(num_interests(lengths, K), routing.num_interests(lengths, K).float()) for K in (1, 5, 12)]
equal["num_interests"] = report_equality("num_interests", pairs)
n = torch.tensor([1, 3, 8, 20, 31, 32, 100, 148, 149])
ln = n.log().floor().clamp(1, 5)
show_table(
    ["$K'_u$ for $K = 5$ and $n$ =", *n.tolist()],
    [
        ["Eq. 9, rounded down (ours)", *num_interests(n, 5).int().tolist()],
        ["Eq. 9, not rounded", *(f"{k:.2f}" for k in n.log2().clamp(1, 5).tolist())],
        ["natural logarithm, rounded down", *ln.int().tolist()],
    ],
)

# %% [markdown]
# **Paper** (§4.3): in the online test, MIND with Eq. 9 nearly matched the click rate of a fixed $K = 7$ at lower cost.
#
# A user's remaining $K - K'_u$ interests are *inactive*. All later steps must exclude them: routing, the ReLU layers
# (the *head*, which does not map zeros to zeros), label-aware attention (notebook 03), and retrieval (where a zero
# vector would return arbitrary items).
#
# ## The whole layer
#
# ### Routing a batch
#
# In a batch, `mask`, of shape (batch, behaviors), is false for padding, and `active` (batch, interests) is true for
# each user's first $K'_u$ interests. The weights are
#
# $$w_{ij} = \frac{\exp b_{ij}}{\sum_k \exp b_{ik}} \tag{6}$$
#
# where $k$ runs over the interests. **Mask inactive interests before the softmax and padding after it.** Masked only
# after the softmax, an inactive interest would already have taken weight from the active interests. If the logits of
# a padding position are all $-10^9$ before the softmax, its weights are equal instead of 0; with $-\infty$, they are
# NaN.
#
# **Exercise 2.2.** Write one iteration with both masks, stopping after squashing: compute the interests $\vec u_j$
# (batch, interests, d) from the logits `b` (batch, interests, behaviors). Padding embeddings may be nonzero.


# %%
def one_iteration(e, mask, active, S, b):
    return None


_ = ONE_ITERATION.check(one_iteration)


# %% jupyter={"source_hidden": true} tags=["solution"]
def one_iteration(e, mask, active, S, b):
    b = b.masked_fill(~active[:, :, None], -1e9)
    w = b.softmax(1) * mask[:, None, :]
    return squash(w @ e @ S.T)


_ = ONE_ITERATION.check(one_iteration)

# %% [markdown]
# The next function is Algorithm 1 for a batch:


# %%
def b2i_routing(e, mask, active, S, b, r):
    votes = e @ S.T  # (batch, n, d)
    for _ in range(r):
        w = b.masked_fill(~active[:, :, None], -1e9).softmax(1)  # Eq. 6: over the interests
        w = w * mask[:, None, :]  # (batch, K, n)
        u = squash(w @ votes)  # Eq. 7: (batch, K, d)
        b = b + u.detach() @ votes.detach().transpose(1, 2)  # Eq. 8, without gradients
    return u, w


# %% jupyter={"source_hidden": true} tags=["hide-input"]
lengths = torch.tensor([9, 5, 1])
mask = torch.arange(9) < lengths[:, None]
active = torch.arange(3) < num_interests(lengths, 3)[:, None]
inputs = torch.randn(3, 9, 6, generator=g) * mask[:, :, None], torch.randn(3, 3, 9, generator=g)
my_e, my_S = inputs[0].clone().requires_grad_(), some_S.clone().requires_grad_()
u, w = b2i_routing(my_e, mask, active, my_S, inputs[1], 3)
their_e = inputs[0].clone().requires_grad_()
theirs, their_S = paper_routing(their_e, some_S, inputs[1], mask)
mine = torch.autograd.grad(u.square().sum() + u.sum(), (my_e, my_S))
others = theirs.vectors.square().sum() + theirs.vectors.sum()
pairs = [(u, theirs.vectors), (w, theirs.coupling)]
pairs += list(zip(mine, torch.autograd.grad(others, (their_e, their_S)), strict=True))
equal["b2i_routing"] = report_equality("b2i_routing with its gradients", pairs)

# %% [markdown]
# **Open**: do gradients flow through all iterations? In public code, they pass only through the last weighted sum, with
# $w_{ij}$ treated as constant; `detach` has the same effect here. $\mathbf S$ and the embeddings still learn through
# that sum.
#
# **Try**: delete `* mask[:, None, :]` in `b2i_routing`, then rerun its cell and the collapsed check. The check fails:
# padding's weights, now nonzero, are harmless only if its embedding is zero.
#
# ### The profile and the head
#
# After routing, the profile's embedding $\vec p_u$ is concatenated with each interest $\vec u_k$, and shared ReLU
# layers map each result to an interest vector $\vec v_u^k$ (**Paper**, §3.3). **Open**: the paper specifies neither the
# number and size of the layers nor the last activation. We use a hidden ReLU layer and a linear output layer.


# %%
class MIND(nn.Module):
    def __init__(self, genres, decades, profile_sizes, d=64, K=4, r=3, sigma=1.0):
        super().__init__()
        self.K, self.r, self.sigma = K, r, sigma
        self.f_item = ItemTables(genres, decades, d)
        self.profile = ProfileTables(profile_sizes)
        self.S = nn.Parameter(nn.init.xavier_normal_(torch.empty(d, d)))
        self.head = nn.Sequential(
            nn.Linear(d + 8 * len(profile_sizes), 128), nn.ReLU(), nn.Linear(128, d)
        )
        for layer in self.head[::2]:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def f_user(self, items, profile):
        """Eq. 1: up to K interest vectors of each user."""
        mask = items > 0
        active = torch.arange(self.K) < num_interests(mask.sum(1), self.K)[:, None]
        b = self.sigma * torch.randn(len(items), self.K, items.shape[1])
        u, _ = b2i_routing(self.f_item(items), mask, active, self.S, b, self.r)
        p = self.profile(profile)[:, None, :].expand(-1, self.K, -1)
        return self.head(torch.cat([u, p], 2)) * active[:, :, None], active


# %% jupyter={"source_hidden": true} tags=["hide-input"]
torch.manual_seed(0)
model = MIND(genres, decades, log.profiles.sizes)
library = mindlib.MIND(log, mindlib.MINDConfig.paper(), generator=g)
with torch.no_grad():
    tables = model.f_item
    library.items.weight.copy_(
        torch.cat([tables.id.weight, tables.genre.weight[1:], tables.decade.weight[1:]])
    )
    library.profile.weight.copy_(torch.cat([table.weight for table in model.profile.tables]))
    library.routing.bilinear_map.copy_(model.S)
    for layer, position in ((library.head.layers[0], 0), (library.head.layers[2], 2)):
        layer.load_state_dict(model.head[position].state_dict())
    batch = split.test.histories.select(slice(0, 50)).window(50)
    torch.manual_seed(3)
    V, active = model.f_user(batch.items, batch.profile)
    behaviors = library.items(batch.items.flatten()).unflatten(0, batch.items.shape)
    theirs = library.encode(behaviors, batch, generator=torch.Generator().manual_seed(3))
equal["MIND.f_user"] = report_equality(
    "MIND.f_user", [(V, theirs.vectors), (active.float(), theirs.active.float())]
)

# %%
torch.manual_seed(0)
model = MIND(genres, decades, log.profiles.sizes)
V, active = model.f_user(history.items, history.profile)
cosine = F.cosine_similarity(V[0, :, None], V[0, None], dim=2)
print(f"V_u: {tuple(V.shape)}, {int(active.sum())} interests are active")
print(f"smallest coordinate {V.min():.2f}; smallest cosine of two interests {cosine.min():.2f}")

# %% [markdown]
# Before training, the interests are almost equal.
#
# **Try**: add `nn.ReLU()` after the last layer of `head`, then rerun its cell and the cell that calls `f_user`. No
# coordinate is then negative, so the angle between two interests cannot exceed 90°.
#
# ### From memory
#
# Draw the layer from memory, mark the three changes, and compare with this table.
#
# | step | result | shape |
# |---|---|---|
# | embed and pool the behaviors | $\mathbf E_u$, rows $\vec e_i$ | $(n, d)$ |
# | multiply them by one $\mathbf S$ **[1]** | $\mathbf S\vec e_i$ | $(n, d)$ |
# | count the interests by Eq. 9 **[3]** | $K'_u$ | |
# | draw the logits from $\mathcal N(0, \sigma^2)$ **[2]** | $b_{ij}$ | $(K'_u, n)$ |
# | $r$ times: softmax over the interests; $\vec z_j = \sum_i w_{ij}\mathbf S\vec e_i$; squash; add $\vec u_j^{\mathsf T}\mathbf S\vec e_i$ to $b_{ij}$ | $\vec u_j$ | $(K'_u, d)$ |
# | concatenate the profile ($d_p$ numbers) with each interest | $(\vec u_j, \vec p_u)$ | $(K'_u, d + d_p)$ |
# | ReLU layers | $\mathbf V_u$ | $(K'_u, d)$ |
#
# ## Films flow into interests
#
# Figure 2.3 shows the routing of `reference`, the trained model. Its configuration, `mindlib`'s default, was tuned on
# validation data and differs from Algorithm 1 in three respects:
#
# - **Initial logits** are similarities to *farthest points*, one seed film for each interest (like K-means++, which the
#   paper calls future work). The first seed is the film least similar to the sum of the user's films; each further seed
#   is the film least similar to its nearest seed.
# - **The agreement** is $4\cos(\vec u_j, \mathbf S\vec e_i)$, which does not depend on norms.
# - **An interest** is the weighted *mean* of its votes, without squashing.
#
# Notebook 05 measures the effect of each. **Predict**: which of the eight films in the first table share an
# interest?

# %% jupyter={"source_hidden": true} tags=["hide-input"]
found = reference.encode_histories(user)
coupling = found.coupling[0][found.active[0], : len(items)]  # (K'_u, n)
names = films.name_interests(log, items.numpy(), coupling.numpy())

# %%
titles, kinds = zip(*((log.titles[i], films.genres(log, i)) for i in items.tolist()), strict=True)
figure = films_and_interests(titles, kinds, coupling.numpy(), names)
_ = save_figure(figure, "02_films.svg")

# %% [markdown]
# **Figure 2.3.** Routing isolates the horror films (interest 2) and one outlier (interest 1); interests 3 and 4
# overlap. A title has the color of the interest in which the film has the largest weight. Each interest is named after
# the two genres whose shares of its weight most exceed their means over all interests.
#
# The interests are not the three tastes: film noir, animation and war are each split between interests 3 and 4. By
# largest weight, *Blood Simple* and *Willy Wonka* share interest 4; the other six films of the first table share
# interest 3.
#
# ## With K = 1, routing does nothing
#
# **Paper** (Table 2): MIND with one interest (MIND-1) beats YouTube DNN because routing is better than averaging
# behaviors. Under Algorithm 1, this cannot be the reason: the softmax over a single interest is 1, so $w_{i1} = 1$ for
# every behavior. Therefore $\vec u = \operatorname{squash}(\sum_i \mathbf S\vec e_i)$, and $r$ and $\sigma$ have no
# effect:

# %%
pooled = squash((e @ S.T).sum(0))
for r, sigma in ((1, 0), (3, 1), (10, 5)):
    u, w = random_routing(e, S, K=1, r=r, sigma=sigma)
    print(
        f"r = {r}, σ = {sigma}: all weights {w.unique().tolist()}, off by {(u - pooled).abs().max():.0e}"
    )

# %% [markdown]
# The same holds for larger $K$ if a user has only one interest, $K'_u = 1$. **Open**: does the gain of MIND-1 come from
# $\mathbf S$, the squashed sum (instead of the mean), the head, or a possible softmax over behaviors in the authors'
# code?
#
# ## Two ways to collapse
#
# Interests can fail in two ways:
#
# - **Interest collapse**: a user's interests are nearly equal. The mean *cosine* between them is near 1.
# - **Routing collapse** (REMI, Xie et al., RecSys 2023): each interest copies a single behavior.
#   The *entropy* of its weights (scaled to sum to 1), divided by $\log n$, is near 0.
#
# We run Algorithm 1 without training ($r = 3$, $\mathbf S = \mathbf I$) on users simulated as above. Their correct
# interests are known: one per cluster of seven behaviors, with cosine about 0 and entropy $\log 7 / \log 21 = 0.64$.
# Along two paths in Figure 2.4, the embeddings' norm grows (softmax over interests or behaviors); along the third,
# $\sigma$ grows at norm 0.5.

# %%
norms, sigmas = (0.05, 1, 2, 4, 8, 16, 30), (0.1, 1, 2, 5, 20)
over_interests = RoutingConfig.paper(max_interests=3)
over_behaviors = replace(over_interests, softmax_over="behaviors")
paths = {
    "softmax over interests": [diagnose(over_interests, norm=x, users=draws) for x in norms],
    "softmax over behaviors": [diagnose(over_behaviors, norm=x, users=draws) for x in norms],
    "only σ grows": [
        diagnose(replace(over_interests, sigma=s), norm=0.5, users=draws) for s in sigmas
    ],
}

# %% jupyter={"source_hidden": true} tags=["hide-input"]
points = {name: [(p.cosine.value, p.entropy.value) for p in path] for name, path in paths.items()}
ends = {name: (f"norm {norms[0]:g}", f"norm {norms[-1]:g}") for name in paths}
ends["only σ grows"] = (f"σ = {sigmas[0]:g}", f"σ = {sigmas[-1]:g}")
titles = ("separated interests", "routing collapse", "noise")
one = 1  # the user whose weights are shown
small = {
    title: path[-1].coupling[one].numpy()
    for title, path in zip(titles, paths.values(), strict=True)
}
figure = collapse_map(points, ends, (0.0, math.log(7) / math.log(21)), small)
_ = save_figure(figure, "02_collapse_map.svg")
print("all three clusters recovered (each has most of some interest's weight):")
for name, path, index in (
    ("norm 4, over interests", "softmax over interests", 3),
    ("norm 4, over behaviors", "softmax over behaviors", 3),
    ("norm 16, over interests", "softmax over interests", 5),
    ("norm 0.5, σ = 1", "only σ grows", 1),
    ("norm 0.5, σ = 20", "only σ grows", 4),
):
    print(f"{name}: {paths[path][index].recovered.percent()}")
print(f"mean cosine at norm 0.5, σ = 1: {paths['only σ grows'][1].cosine}")
noise = paths["only σ grows"][4]
print(f"mean cosine at norm 0.5, σ = 20: {noise.cosine}; entropy {noise.entropy}")

# %% [markdown]
# **Figure 2.4.** Larger norms separate the interests if the softmax runs over interests, but lead to routing
# collapse if it runs over behaviors; more noise does not lead to the correct clusters (star). Labels give the norm
# $\|\mathbf S\vec e_i\|$ (at $\sigma = 1$) or $\sigma$ (at norm 0.5). The heat maps show one user's weights at points
# A, B and C.
#
# All paths start near interest collapse. Because $\|\vec u_j\| < 1$, the agreement is below $\|\mathbf S\vec e_i\|$, so
# embeddings of small norm hardly change the random logits. The weights stay random, and their differences average out
# over 21 behaviors, so the interests are similar (cosine 0.87 at norm 0.5 and $\sigma = 1$).
#
# - **Larger norms** (blue) increase the agreement and thereby separate the clusters: at norm 16, all are recovered for
#   89 % of the users (**Measured here**).
# - **The softmax over behaviors** (orange) does not lead to the star: two interests may choose the same cluster, and
#   each may put all its weight on one behavior. With the softmax over interests, not all interests can copy single
#   behaviors, because each of the 21 behaviors has total weight 1.
# - **More noise** (purple) concentrates the weights, but on random behaviors; at norm 0.5, the agreement is too small
#   to correct this. At $\sigma = 20$, all clusters are recovered for only 3 % of the users. The entropy (0.65, near the
#   star's) does not reveal this; the cosine (still 0.70) does.
#
# **Paper** (Fig. 3): after training, $\sigma = 0.1$, 1 and 5 give almost the same curve on one data set.
#
# **Predict**: can more iterations replace large norms?

# %% jupyter={"source_hidden": true} tags=["hide-input"]
r_values, rows = (1, 3, 10, 100), {}
for norm in (0.5, 1, 3):
    rows[f"norm {norm:g}"] = []
    for r in r_values:
        torch.manual_seed(0)  # the logits of Figure 2.2
        rows[f"norm {norm:g}"].append(random_routing(norm / 3 * toy, torch.eye(2), 3, r, sigma=1))
figure = rounds_in_the_plane(toy, rows, r_values)
_ = save_figure(figure, "02_norms.svg")
shares = {
    norm: [
        diagnose(replace(over_interests, iterations=r), norm=norm, users=draws).recovered
        for r in r_values[1:]
    ]
    for norm in (0.5, 1, 4)
}
show_table(
    ["all clusters recovered, σ = 1", *(f"r = {r}" for r in r_values[1:])],
    [[f"norm {norm:g}", *(share.percent() for share in row)] for norm, row in shares.items()],
)

# %% [markdown]
# **Figure 2.5.** Smaller norms (rows, whose dots are drawn alike) need more iterations: in the toy example, each
# group has its own interest after ten iterations at norm 3 and after a hundred at norm 1. At norm 0.5, even a hundred
# do not suffice: one interest (orange) holds two groups, and another (green) has norm zero.
#
# **Measured here**, on simulated users: more iterations can replace large norms, though not fully at norm 0.5.
# There, $r = 100$ recovers all clusters for 75 % of the users; at norm 16, $r = 3$ does so for 89 %.
#
# ## Summary
#
# - One shared $\mathbf S$ serves histories of any length and keeps all interests in one space.
# - With one $\mathbf S$, equal initial logits give equal interests. Random logits can separate them, but routing is
#   repeatable and independent of the films' order only if the items determine the logits.
# - Eq. 9 gives short histories fewer interests; inactive ones are masked in every later step.
# - The cosine detects interest collapse, and the entropy detects routing collapse; neither alone suffices.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
seconds = time.perf_counter() - started
metrics = {
    "draws": draws,
    "seconds": seconds,
    "equal": {name: int(value) for name, value in equal.items()},
    "repeatability": {str(sigma): estimate for sigma, estimate in repeats.items()},
    "collapse": {
        name: [[p.cosine, p.entropy, p.recovered] for p in path] for name, path in paths.items()
    },
}
path = write_metrics("02_b2i_routing", metrics)
print(
    f"finished in {seconds:.0f} seconds on {torch.get_num_threads()} core(s); the metrics are in {path.name}"
)
