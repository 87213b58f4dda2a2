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
# # 02 · Behaviour-to-interest routing
#
# > **You will learn** the three changes by which MIND turns capsule routing into a recommender
# > (§3.3.2): one shared map, random initial logits, and a number of interests that depends on the
# > user. You break each predecessor before you mend it. Then you measure what the paper leaves open,
# > and meet seven mistakes that public code makes here.
# >
# > **You need** PyTorch and notebook 01 (capsules, squash, routing by agreement). A matrix product and
# > a softmax are all the mathematics.
# >
# > **It takes** about a minute and a half on two cores; the last cell says how long this run took.
# >
# > **The data** are planted: users whose interests we chose ourselves, so that "found" and "not found"
# > are facts. Only where history lengths are counted (section 3) a real log is read, *The Complete
# > Journey* of notebook 00. Without a network, set `dataset = "planted"`.
#
# Brackets after a number hold its 95 % confidence interval. The same quantity may be measured twice, on new users
# or with new luck; then its values differ by about as much. Equation numbers are the paper's. Sentences about
# measurements hold at the settings below, and the cells assert most of them.

# %% tags=["parameters"]
dataset: str = "complete-journey"  # whose history lengths section 3 counts: a name or a path
draws: int = 300  # simulated users behind each measured rate, at least 100
seeds: int = 3  # how often each model of the small trainings is trained
epochs: int = 18  # passes over the training examples in the small trainings

# %%
import time

from mindlib.lessons.common.report import Number, Text, check_parameters, save_figure, write_metrics

rules = {
    "dataset": Text(),
    "draws": Number(100, 5000, whole=True),
    "seeds": Number(1, 20, whole=True),
    "epochs": Number(1, 50, whole=True),
}
check_parameters(globals(), rules)
at_the_defaults = draws >= 300 and seeds >= 3 and epochs >= 18
started = time.perf_counter()

import re
from dataclasses import replace
from math import erfc, log
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn.functional import cosine_similarity, normalize

import mindlib
from mindlib.data import load
from mindlib.evaluation import evaluate, interest_cosine, mean_estimate, routing_entropy
from mindlib.layers import routing
from mindlib.layers.initial_logits import farthest_point_logits, gaussian_logits
from mindlib.layers.routing import B2IRouting, RoutingConfig, dynamic_routing, squash
from mindlib.lessons.common.architecture import show_architecture
from mindlib.lessons.common.page import show_source, show_table
from mindlib.lessons.common.style import use_style
from mindlib.lessons.common.widgets import explore
from mindlib.lessons.n02_b2i import figures as b2i
from mindlib.lessons.n02_b2i import (
    routing_harms,
    routing_museum,
    routing_properties,
    routing_readings,
    routing_starts,
    routing_study,
    routing_view,
)
from mindlib.lessons.n02_b2i import routing_trials as trials
from mindlib.lessons.n02_b2i.exercises import NUMBER_OF_INTERESTS, ONE_ROUND
from mindlib.lessons.n02_b2i.pooled import Pooled
from mindlib.models import MIND, MINDConfig, Oracle, Popularity, YouTubeDNN, YouTubeDNNConfig

use_style()

# %% [markdown]
# B2I routing, the coloured block, turns the $n$ behaviour embeddings of a user into $K'_u$ interest capsules (Eqs. 8
# and 9). Notebook 00 explains the whole figure.

# %%
show_architecture("routing")

# %% [markdown]
# ## A user to think with
#
# Ana has clicked 21 things: seven pairs of headphones, seven snacks, seven handbags. Each thing is a
# vector $\vec e_i$. Things of a kind point roughly the same way. We would like three vectors back, one
# for each kind, without telling anybody which thing is of which kind.
#
# We draw many such users. Each has three directions of her own in 16 dimensions, and seven
# behaviours around each. All embeddings have the same length; it will turn out to matter. Ana is the
# first of them.

# %%
generator = torch.Generator().manual_seed(0)
users = trials.planted_users(draws, scale=4.0, generator=generator)
unit = normalize(users.behaviors, dim=2)
cosine = (unit @ unit.mT).mean(0)
same = users.clusters[0][:, None] == users.clusters[0]
inside, across = cosine[same & ~torch.eye(21, dtype=torch.bool)].mean(), cosine[~same].mean()
print(f"{draws} users with 21 behaviours of 16 numbers, each of length {users.behaviors[0, 0].norm():.1f}; "
      f"mean cosine of two behaviours of a kind {inside:.2f}, of two kinds {across:.2f}")  # fmt: skip
assert inside > 0.5 > across

# %% [markdown]
# Two measures serve us throughout.
#
# **Found.** A kind is found when some interest draws more than half of its weight from the seven behaviours of
# that kind. An interest that draws on everything alike has a third from each kind, and finds none. Our
# headline number is strict: the share of users for whom *all three* kinds are found. (Found is not yet
# cleanly separated. An interest with 51 % headphones counts, and snacks may be in it.)
#
# **Alike.** How alike are two sets of interests? Interests have no order. So each looks for its best match
# in the other set, and the cosines with the best matches are averaged. 1 means the same set. Chance is
# far above 0 here, since all interests are made of the same behaviours: the mean of all behaviours in place of
# every interest is already alike to about 0.8. That floor is printed where a value must be judged by it.

# %%
show_source(trials.recovered_clusters)
show_source(trials.best_match)

# %% [markdown]
# ## 1. First change: one map for all pairs
#
# In Sabour's routing every pair of a low capsule $i$ and a high capsule $j$ has a map of its own:
#
# $$b_{ij} = (\vec c_j^{\,h})^{\mathsf T}\, \mathbf S_{ij}\, \vec c_i^{\,l} \tag{4}$$
#
# In an image that makes sense. Capsule $i$ sits at a fixed place, the same in every image. Behaviour
# $i$ does not: it is whatever Ana clicked as her $i$-th thing. Let us build it anyway, count its
# parameters for a window of 50 behaviours, and use it. Three things go wrong.
#
# **The size.** A map for each pair is as many maps as places times interests.
#
# **A longer history.** Ana clicks one thing more. There is no map for place 22.
#
# **Another order.** The paper's $\mathcal I_u$ is a *set* (§3.1). Shuffle Ana's behaviours, and the
# maps meet other behaviours than before: she is hardly the same user.

# %%
print(f"50 behaviours, 4 interests, 64 dimensions: a map for each pair {50 * 4 * 64 * 64:,} "
      f"parameters, one map for all {64 * 64:,}")  # fmt: skip
pair_maps = torch.randn(21, 3, 16, 16, generator=generator) / 4


def votes(behaviors):
    """S_ij e_i for each pair, shape (users, low, high, dim)."""
    return torch.einsum("ljed,bld->blje", pair_maps, behaviors)


try:
    votes(torch.cat([users.behaviors, users.behaviors[:, :1]], dim=1))
except RuntimeError as error:
    print(f"22 behaviours: {type(error).__name__}, there are maps for {len(pair_maps)} places")
own_maps, _ = dynamic_routing(votes(users.behaviors), iterations=3)
order = torch.randperm(21, generator=generator)
shuffled, _ = dynamic_routing(votes(users.behaviors[:, order]), iterations=3)
everyone = torch.ones(draws, 3, dtype=torch.bool)
alike = mean_estimate(trials.best_match(own_maps, shuffled, everyone))
strangers = mean_estimate(trials.best_match(own_maps, own_maps.roll(1, 0), everyone))
print(
    f"the same set in another order, alike: {alike}; two different users (the floor): {strangers}"
)
assert alike.high < 0.7, "with a map for each place, order matters"

# %% [markdown]
# So MIND takes one map for every pair (§3.3.2):
#
# $$b_{ij} = \vec u_j^{\,\mathsf T}\, \mathbf S\, \vec e_i, \qquad i \in \mathcal I_u,\; j \in \{1, \dots, K\} \tag{8}$$
#
# A history of any length fits, and all interests live in one vector space, which is what a search
# index needs. (Eq. 8 is printed with "=". The paper's Algorithm 1 *adds* the agreement to the logit, in
# each round. So do we.) The logits become weights as in notebook 01:
#
# $$w_{ij} = \frac{\exp b_{ij}}{\sum_{k} \exp b_{ik}} \tag{6}$$
#
# The index $k$ stands where interests stand, so the sum runs over interests. But it is printed with an
# upper bound $m$, the number of *behaviours*; section 4 measures both readings. In code, `logits` and
# `weights` have a row for each interest and a column for each behaviour; the softmax runs down a column.

# %%
show_source(routing.route)

# %% [markdown]
# Look at what happens to $\mathbf S$. Since it is shared, it can leave the sum: $\sum_i w_{ij}\mathbf
# S\vec e_i = \mathbf S\sum_i w_{ij}\vec e_i$, and $\vec u_j^{\mathsf T}\mathbf S\vec e_i = (\mathbf
# S^{\mathsf T}\vec u_j)^{\mathsf T}\vec e_i$. It meets $K$ interests instead of all the behaviours.
#
# The equality cell says three things. The short form is Sabour's routing with the same $\mathbf S$ in each
# place. It is the paper's Algorithm 1, written out in loops for one user: the softmax stands inside
# "for all behaviours $i$", the squash inside every round, and the logits accumulate. And a rotation as
# $\mathbf S$ turns all interests and leaves the weights alone. So the trials below take $\mathbf S =
# \mathbf I$: it stands for any rotation. (A trained $\mathbf S$ may also stretch; section 4 trains.)


# %%
def algorithm_1(e, S, b, r):
    """Interests of one user from behaviours e (n, d) and initial logits b (K, n)."""
    n, K, b = len(e), len(b), b.clone()
    for _ in range(r):
        w = torch.stack([torch.softmax(b[:, i], dim=0) for i in range(n)], dim=1)
        u = [squash(sum(w[j, i] * (S @ e[i]) for i in range(n))) for j in range(K)]
        for j in range(K):
            for i in range(n):
                b[j, i] += u[j] @ S @ e[i]
    return torch.stack(u)


S = torch.randn(16, 16, generator=generator) / 4
three = RoutingConfig.paper(max_interests=3)  # three rounds and σ = 1
start = trials.random_logits(users, 3, 1.0, torch.Generator().manual_seed(1))
with torch.no_grad():
    result = trials.routing_with(S, three)(users.behaviors, users.mask, start)
same_votes = (users.behaviors @ S.T)[:, :, None].expand(-1, -1, 3, -1)
sabour, weights = dynamic_routing(same_votes, 3, logits=start.mT)
assert torch.allclose(sabour, result.vectors, atol=1e-5)
assert torch.allclose(weights.mT, result.coupling, atol=1e-4)
for user in range(3):
    by_hand = algorithm_1(users.behaviors[user], S, start[user], r=3)
    assert torch.allclose(by_hand, result.vectors[user], atol=1e-4)
rotation = torch.linalg.qr(S).Q
with torch.no_grad():
    turned = trials.routing_with(rotation, three)(users.behaviors, users.mask, start)
straight = trials.route_users(users, three, start)
assert torch.allclose(turned.coupling, straight.coupling, atol=1e-4)
assert torch.allclose(turned.vectors, straight.vectors @ rotation.T, atol=1e-4)

# %% [markdown]
# ## 2. Second change: random initial logits
#
# Sabour starts with $b_{ij} = 0$. With a map for each pair that is no problem: the votes differ, so
# the capsules differ. Share the map, and start at zero:

# %%
zeros = torch.zeros(draws, 3, 21)
at_zero = trials.route_users(users, three, zeros).vectors
spread, apart = (at_zero - at_zero[:, :1]).abs().max(), interest_cosine(own_maps, everyone).mean()
print(f"zero logits: with a map for each pair, the mean cosine of a user's interests is {apart:.2f}; "
      f"with one shared map, her interests differ by at most {spread:.1g}")  # fmt: skip
assert max(spread, apart - 0.9) < 1e-6

# %% [markdown]
# **Why it must be so.** Claim: if the rows of $b$ are equal before a round, they are equal after it.
#
# 1. Equal rows give $w_{ij} = 1/K$ for every interest $j$ (Eq. 6).
# 2. Then $\vec z_j = \sum_i \frac1K \mathbf S \vec e_i$ has no $j$ in it. So $\vec u_1 = \dots = \vec u_K$.
# 3. Every interest adds the same $\vec u^{\mathsf T}\mathbf S\vec e_i$ to its logit. The rows stay equal.
#
# Zeros are equal rows, so by induction all interests are identical after any number of rounds.
# No number of rounds helps, and no training either: identical capsules get identical gradients.
# The way out is to make the rows differ before the first round: $b_{ij} \sim \mathcal N(0, \sigma^2)$.
# In the picture, Ana with both starts.

# %%
films, cosines, found = {}, {}, {}
for name, first in (("zero logits", zeros), ("Gaussian logits", start)):
    steps = [trials.route_users(users, replace(three, iterations=r), first) for r in range(1, 6)]
    films[name] = [step.coupling[0].numpy() for step in steps]
    cosines[name] = [float(interest_cosine(step.vectors, step.active)[0]) for step in steps]
    kinds = [trials.recovered_clusters(step.coupling, users.clusters)[0] for step in steps]
    found[name] = [int(kind.sum()) for kind in kinds]
path = save_figure(b2i.rounds(films, cosines), "02_zero_logits.svg")
print("Ana's kinds found after rounds 1 to 5:", found)
assert min(cosines["zero logits"]) > 1 - 1e-5
assert np.allclose(films["zero logits"], 1 / 3, atol=1e-5)
assert cosines["Gaussian logits"] == sorted(cosines["Gaussian logits"], reverse=True), "they part"
assert found["Gaussian logits"][4] == 3 > found["Gaussian logits"][2]

# %% [markdown]
# Rows are interests, columns are Ana's behaviours, seven of each kind side by side; the cosines are those of
# her three interests. The upper row never changes: every behaviour gives a third of itself to each interest,
# for ever, and each interest is the same mean of everything. The lower row starts as noise and sorts itself,
# slowly. After three rounds one kind is found, after five all three. (Two of them still share columns: found,
# and not cleanly separated.)
#
# ### Is it K-means?
#
# The paper likens the draw to the seeding of K-means. The likeness is close: the random logits divide the
# behaviours at random, softly; each interest begins as a slightly different mean; then assignment and mean
# take turns. So we put K-means beside it, on the same behaviours, from one start, until it stands still.
# (K-means++ is the seeding that starts at behaviours far apart.) The last line is the truth: an interest
# for each kind, no other things in it. *Entropy* says how evenly an interest draws on the 21 behaviours: 1 if
# on all alike, 0 if on one alone. An interest that holds its seven behaviours and no others has
# $\log 7/\log 21 = 0.64$, so that is health. A round costs multiplications; with $r$ rounds they
# are in proportion to $2r - 1$.

# %%
rounds = {r: replace(three, iterations=r) for r in (1, 2, 3, 5, 10, 50)}
by_rounds = {r: trials.route_and_sort(users, config, start) for r, config in rounds.items()}
cost = {r: trials.multiplications(config, 21, 16) for r, config in rounds.items()}
kmeans = {k: trials.kmeans_sorting(users, 3, init=k, seed=0) for k in ("random", "k-means++")}
perfect = trials.perfect_sorting(users)
lines = [(f"routing, r = {r}", row, f"{cost[r] / cost[3]:.1f}") for r, row in by_rounds.items()]
lines += [(f"K-means, {k} start", row, "") for k, row in kmeans.items()] + [
    ("the truth", perfect, "")
]
show_table(
    ["", "all three found", "cosine between interests", "entropy", "cost, r = 3 is 1"],
    [[name, row.found.percent(), row.cosine, row.entropy, price] for name, row, price in lines],
)
print(f"not found after 50 rounds: {1 - by_rounds[50].found.value:.0%} of the users")
assert abs(perfect.entropy.value - log(7) / log(21)) < 1e-4
assert by_rounds[1].found.high < by_rounds[3].found.low < 0.7 < by_rounds[10].found.value
assert by_rounds[3].found.high < kmeans["random"].found.low
assert kmeans["random"].found.value < by_rounds[10].found.value <= kmeans["k-means++"].found.value
assert 0 < 1 - by_rounds[50].found.value < 0.1
assert by_rounds[50].found.low < by_rounds[10].found.high, "fifty rounds add little to ten"

# %% [markdown]
# **Three rounds are an unfinished K-means.** They find all kinds of little more than half of the users; ten find
# more than K-means does from one random start, and K-means++ finds still more. From 10 rounds to 50 the
# share hardly moves. So a slow start is repaired by more rounds, and a bad one is not: that concerns the few
# per cent that are left, where two interests share one kind and a third holds the rest.
#
# ### How large should σ be?
#
# The paper reports that σ = 0.1, 1 and 5 do about equally well, *after training, on one data set*
# (Fig. 3). Here is what σ does to routing itself, without training. *Stay* is the share of behaviours
# that end with the interest that the draw gave them to (a third would be chance). *Two draws* routes each
# user twice, with fresh logits, and asks how alike the two sets of interests are; its *floor* compares
# her interests with the mean of her behaviours, which knows of no kinds.

# %%
sigmas = (0.0, 0.1, 1.0, 5.0)
by_draw = {
    (sigma, r): routing_starts.draw_study(
        users, replace(rounds[r], sigma=sigma), torch.Generator().manual_seed(2)
    )
    for sigma in sigmas for r in (3, 10)
}  # fmt: skip
show_table(
    ["σ", "all three found, r = 3", "r = 10", "stay, r = 3", "two draws, r = 3", "floor"],
    [[sigma, row.found.percent(), by_draw[sigma, 10].found.percent(), row.unmoved.percent() if sigma else "–",
      row.alike, f"{row.mean_alike.value:.2f}"] for sigma in sigmas for row in [by_draw[sigma, 3]]],
)  # fmt: skip
reach = max(row.reach for row in by_draw.values())
print(f"the furthest that a logit moved: {reach:.0%} of (r - 1) |S e|; pairs of logits "
      f"more than 16 apart at σ = 5: {erfc(16 / (5 * 2)):.1%}")  # fmt: skip
none, tiny, usual, huge = (by_draw[sigma, 3] for sigma in sigmas)
assert none.found.value == 0
assert none.alike.value > 1 - 1e-5, "reproducible, and useless"
assert max(tiny.found.high, huge.found.high) < usual.found.low
assert huge.unmoved.low > 0.8 > usual.unmoved.high > tiny.unmoved.low
assert 0.3 < (usual.alike.value - usual.mean_alike.value) / (1 - usual.mean_alike.value) < 0.7
assert all(by_draw[s, 10].found.low > by_draw[s, 3].found.high for s in sigmas[1:])
assert reach < 1

# %% [markdown]
# Read it line by line. With σ = 0 two draws are perfectly alike, and useless. With **σ = 0.1** the interests
# begin nearly equal, and three rounds are too few to let the small difference grow. With **σ = 5** the draw wins:
# nearly nine behaviours in ten stay where it put them. Both get better with ten rounds, σ = 0.1 most of all: neither
# is a wrong start so much as a slow one. And what does a draw cost? At σ = 1 another draw gives other interests: their likeness is
# about half-way between the floor and 1.
#
# There is an exact bound behind "slow". Squash keeps $|\vec u_j| < 1$, so a round moves a logit by less than
# $|\mathbf S\vec e_i|$:
#
# $$|\vec u_j^{\mathsf T}\mathbf S\vec e_i| \le |\vec u_j|\,|\mathbf S\vec e_i| < |\mathbf S\vec e_i|.$$
#
# The last round's weights have seen $r - 1$ updates. So a logit moves by less than $(r-1)|\mathbf S\vec
# e_i|$, and a *difference* of two logits by less than twice that. The line printed above checks the
# inequality. It is not the whole explanation of σ = 5: with length 4 and three rounds the bound
# is 16, and few pairs of logits are that far apart (same line). In so few rounds agreement rarely points one
# way: an interest that begins as a noisy mean of everything agrees with all kinds about equally.
#
# So what counts, σ or the length of the embeddings? Both, and not their ratio. A logit has a unit of its own:
# in a softmax, one logit more means odds $e$ times as high. σ says how far apart the interests are put at
# the start, in logits. $|\mathbf S\vec e_i|$ says how fast they can move, in logits a round.
# **With three rounds, neither may be small, and σ must not be large against the length.** More rounds buy
# some of it back, as the table showed. The picture moves both, at three rounds.

# %%
scales = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
of_sigma = {f"σ = {sigma:g}": replace(three, sigma=sigma) for sigma in sigmas[1:]}
alone = {name: replace(config, iterations=1) for name, config in of_sigma.items()}
by_sigma = trials.recovery_by_scale(scales, of_sigma, draws=draws, seed=3)
floors = trials.recovery_by_scale(scales, alone, draws=draws, seed=3)
labels = {
    "xlabel": "length of the embeddings, $|\\mathbf{S e}_i|$",
    "ylabel": "users with all three kinds found",
}
path = save_figure(b2i.curves(scales, by_sigma, floors=floors, **labels), "02_scale.svg")
at = {scale: {name: row[n] for name, row in by_sigma.items()} for n, scale in enumerate(scales)}
drawn = {scale: {name: row[n] for name, row in floors.items()} for n, scale in enumerate(scales)}
for scale in (0.5, 8.0):
    print(
        f"length {scale}:",
        "; ".join(
            f"{k} {e.percent()}, the draw alone {drawn[scale][k].value:.0%}"
            for k, e in at[scale].items()
        ),
    )
ratio_8 = [
    trials.recovery_by_scale((8 * sigma,), {"": replace(three, sigma=sigma)}, draws=draws, seed=3)
    for sigma in sigmas[1:]
]
ratio_8 = [rows[""][0] for rows in ratio_8]
print(
    "length 8σ:",
    "; ".join(f"σ = {s:g} {e.percent()}" for s, e in zip(sigmas[1:], ratio_8, strict=True)),
)
assert all(e.value - drawn[0.5][name].value < 0.07 for name, e in at[0.5].items()), (
    "next to nothing"
)
assert all(e.low > drawn[8.0][name].high for name, e in at[8.0].items())
assert ratio_8[0].high < 0.1 < 0.5 < ratio_8[1].low, "the same ratio, another world"

# %% [markdown]
# Each point is the share of users for whom all three kinds were found, the band its interval. Dotted in the
# same colour: a single round, whose weights are nothing but the draw. Follow a line to the right and the
# embeddings grow; compare lines at one place and only σ differs. The last line printed shows why the ratio
# does not count: at the same ratio, tiny logits find nothing.
#
# Training begins with small embeddings (about 1 in mindlib, as section 4 prints). At length 0.5, three rounds
# add next to nothing to what the draw alone finds. Routing is then hardly more than a random soft partition, and it is up to the gradient
# to make the embeddings longer. A layer that shrinks embeddings all but switches three
# rounds of routing off, without any error message. (What training makes of it, for all three σ, comes in section 4.)
#
# ### What the draw costs at serving, and the remedy
#
# Ana reloads the page. Nothing has changed, but the logits are drawn anew: she has other interests,
# so she sees other items, and an offline evaluation gives another number each time. The field has
# three answers. *Redraw* and accept it. Draw once for each *place* of the window, and keep that for all
# users. Or, as `mindlib` does in evaluation, derive the logit from the *item*: a hash of the seed, the
# item's id and the number of the interest, made Gaussian.

# %%
show_source(routing_starts.initial_logits)
show_source(gaussian_logits)

# %% [markdown]
# Ask twice for each user, in three situations: nothing has changed; the same behaviours in another order;
# or an ordinary step, the oldest behaviour gone and a new one come in. We take 10 seeds of the logits: with
# one, the row "by position" would show one draw's luck. The last column is the worst and the best seed.

# %%
second = {
    kind: routing_starts.second_request(kind, users, three, seeds=10)
    for kind in ("redrawn", "by position", "by item")
}
show_table(
    ["logits", "alike: same history", "another order", "one step later", "all three found", "lowest and highest seed"],
    [[kind, row.same, row.order, row.step, row.found.percent(), f"{min(row.by_seed):.0%}, {max(row.by_seed):.0%}"]
     for kind, row in second.items()],
)  # fmt: skip
print(f"floor of likeness, against the mean of the behaviours: {usual.mean_alike.value:.2f}")
one = gaussian_logits(users.items[5:6], 3, sigma=1.0, seed=0)
assert torch.equal(one[0], gaussian_logits(users.items, 3, sigma=1.0, seed=0)[5])
assert second["redrawn"].same.high < 0.99
assert second["by position"].same.value > 1 - 1e-5 > 0.99 > second["by position"].order.high
assert second["by item"].same.value > 1 - 1e-5 < second["by item"].order.value
assert second["by item"].step.low > second["by position"].step.high
rates = [row.found.value for row in second.values()]
assert max(rates) - min(rates) < 0.08, "no way to start finds clearly more"

# %% [markdown]
# Derived from the item, the interests are the same twice, alone or in a batch (asserted above), in any order;
# a real step changes them a little, as it should. By position the same history gives the same interests,
# and any change of order is like a new draw. None finds clearly more than the others. So reproducibility
# costs nothing here, with one caution: an item whose hash is unlucky is unlucky for everybody who
# has it, as long as the seed stands. The paper says none of this; it draws, and leaves serving open.

# %% [markdown]
# ### A start that knows the behaviours
#
# Noise makes the rows differ, and knows nothing of Ana. The paper leaves a better start to future work, and
# K-means++ has shown above what one is worth. So let each interest begin at a behaviour: the first at the one that
# is least like all together, every further one at the behaviour that is least like those chosen so far. Nothing
# is drawn. A first logit says how much a behaviour resembles the chosen one, $b_{ij} = s\cos(\mathbf S\vec
# e_{i_j}, \mathbf S\vec e_i)$.

# %%
show_source(farthest_point_logits)

# %% [markdown]
# Two things go with it. The agreement of Eq. 8 becomes $s\cos(\vec u_j, \mathbf S\vec e_i)$ too, with $s = 4$: then a
# round moves a logit by up to 4 whatever the length of the embeddings. And an interest is the weighted *mean* of its
# behaviours, without squash. That form, `RoutingConfig()`, is what validation on real purchases chose (notebook
# 05 has it). The other one, `RoutingConfig.paper()`, is everywhere else in this notebook.
#
# The users are new, and routed at two lengths. *Strays* are things of no kind at all: a present for somebody, a
# slip. *One step later* is the likeness of a user's interests after her oldest behaviour has gone and a new one
# has come in.

# %%
knowing = RoutingConfig(max_interests=3)
by_form = {
    "noise, σ = 1: Algorithm 1": three,
    "the same, ten rounds": rounds[10],
    "noise, cosine, mean": replace(knowing, initial_logits="gaussian"),
    "farthest start alone": replace(three, initial_logits="farthest"),
    "farthest, cosine, mean": knowing,
}


def known(config, length, strays=0):
    luck = torch.Generator().manual_seed(20)
    some = trials.planted_users(draws, scale=length, generator=luck)
    return routing_starts.knowledge(some, config, luck, strays=strays)


knows = {name: [known(config, 4.0, strays) for strays in (0, 1, 3)] for name, config in by_form.items()}  # fmt: skip
shorter = {name: known(config, 0.5) for name, config in by_form.items()}
show_table(
    ["start and form", "all three found", "length 0.5", "cosine between interests", "entropy", "one step later", "found, 1 stray", "3 strays"],
    [[name, rows[0].found.percent(), shorter[name].found.percent(), rows[0].cosine, rows[0].entropy, rows[0].step,
      *(row.found.percent() for row in rows[1:])] for name, rows in knows.items()],
)  # fmt: skip
noise, patient, half, lonely, ours = knows.values()
chosen = farthest_point_logits(users.behaviors, users.mask, 3, inverse_temperature=4.0)
backwards = farthest_point_logits(users.behaviors.flip(1), users.mask, 3, inverse_temperature=4.0)
assert torch.allclose(backwards.flip(2), chosen, atol=1e-4), "order does not enter"
assert ours[0].found.low > 0.9 > 0.75 > noise[0].found.high
assert abs(ours[0].entropy.value - perfect.entropy.value) < 0.02 < noise[0].entropy.value - 0.7
assert ours[0].step.low > noise[0].step.high
names = list(by_form)
assert shorter[names[0]].found.high < 0.15 < 0.9 < shorter[names[4]].found.low
assert abs(shorter[names[2]].found.value - half[0].found.value) < 0.02, "no unit of length"
with_strays = [row.found.value for row in ours]
assert with_strays[0] > with_strays[1] + 0.05 > with_strays[2] + 0.1, "strays take seats"
assert noise[2].found.value + 0.1 < with_strays[2] < patient[2].found.value - 0.1
if at_the_defaults:
    assert 0.8 < with_strays[1] < 0.95 > 0.75 > with_strays[2] > 0.55

# %% [markdown]
# Without strays the start does it alone: all kinds are found, the entropy is that of the truth, and a step of the
# user's hardly moves her interests. The cosine frees routing from the length: its lines find at 0.5 what they find at
# 4, where Algorithm 1 finds next to nothing. Of the mean we cannot say as much here: the cosine does not see how
# long an interest is. What it changes is what the layers behind routing get.
#
# The strays are the price. *Least like all others* is what a slip is, too. So the start seats an interest on it, and
# two kinds share what is left: one stray costs a tenth of the users a kind, three cost a third. That is still more
# than three rounds from noise find, and fewer than ten rounds do, at this length. A stray that has a seat keeps it.
# With $K$ above the number of kinds there is a seat to spare; real histories, with strays in plenty,
# decide (notebook 05).

# %% [markdown]
# ## 3. Third change: as many interests as the history can carry
#
# Three clicks do not hold four interests. Break it: take one, two, three, ... of each user's behaviours at
# random, and give everybody $K = 4$ interests. $n$ behaviours hand out a weight of $n$ in all, 1 each. So
# with three clicks some interest gets less than one behaviour, by arithmetic. *Twins* are two interests with
# a cosine above 0.9: two searches for much the same items.

# %%
clicks = (1, 2, 3, 8, 16)
fixed, own = (
    [routing_readings.crowd(users, RoutingConfig.paper(max_interests=4, adaptive=adaptive), behaviors=n, seed=1) for n in clicks]
    for adaptive in (False, True)
)  # fmt: skip
show_table(
    ["behaviours", "four interests for all: users with twins", "emptiest interest", "Eq. 9: interests", "users with twins", "emptiest interest"],
    [[n, a.twins.percent(), f"{a.emptiest.value:.2f}", b.interests, b.twins.percent(), f"{b.emptiest.value:.2f}"]
     for n, a, b in zip(clicks, fixed, own, strict=True)],
)  # fmt: skip
for n, a, b in zip(clicks, fixed, own, strict=True):
    assert a.emptiest.value <= n / 4 + 1e-5, "the arithmetic"
    assert b.twins.high < a.twins.low if n < 16 else b == a
assert fixed[2].twins.low > 0.8 > 0.15 > fixed[2].emptiest.high

# %% [markdown]
# With three clicks nearly every user has twins, and her emptiest interest holds a tenth of a behaviour. She
# pays for four searches all the same. So MIND gives a light user fewer (§3.3.2):
#
# $$K'_u = \max\bigl(1, \min(K, \log_2 |\mathcal I_u|)\bigr) \tag{9}$$
#
# The right half of the table is the mended one. It is no cure for all: at 16 behaviours Eq. 9 allows four,
# these users have three kinds, and twins remain. The logarithm counts clicks and not kinds. In the
# same way three clicks of three kinds become one interest. The paper prints no rounding; the field
# uses the floor, the ceiling and the natural logarithm. We round down, without a logarithm: how many of 2,
# 4, 8, ... does the number reach?

# %%
show_source(routing.num_interests)

# %%
examples = torch.tensor([1, 2, 3, 8, 15, 16, 100])
base_two, natural = examples.double().log2(), examples.double().log()
show_table(
    ["$K'_u$ for so many behaviours", *map(str, examples.tolist())],
    [[f"{name}, K = {k}", *numbers.clamp(1, k).int().tolist()] for k in (4, 8) for name, numbers in
     {"floor of log2 (ours)": base_two.floor(), "ceiling of log2": base_two.ceil(), "floor of ln": natural.floor()}.items()],
)  # fmt: skip
for k in (4, 8):
    assert torch.equal(routing.num_interests(examples, k), base_two.floor().clamp(1, k).long())

# %% [markdown]
# The purpose is cost, the paper says, and its online test finds no gain in clicks from it (§4.3). What
# is saved depends on how long histories are. *Searches* are lookups in the index, one for each interest.
# *Routing* counts multiplications, which grow with $K'_u\,|\mathcal I_u|$. We count on the real log and on a
# planted one, as far as a window of 50 behaviours sees them, and with whole histories.

# %%
rows, savings, window = [], {}, 50
for history in [load(name) for name in dict.fromkeys(("planted", dataset))]:
    whole = torch.from_numpy(np.diff(history.offsets)[1:])  # row 0 stands for padding, no user
    for seen, lengths in (("whole", whole), (f"window of {window}", whole.clamp(max=window))):
        savings = {k: routing_readings.saving(lengths, k) for k in (2, 4, 6, 8)}
        parts = [f"{x:.1%}" for k in (4, 8) for x in (savings[k].searches, savings[k].routing)]
        rows.append([f"{history.name}, {seen}", len(lengths), f"{lengths.median()}", *parts])
show_table(
    [
        "log",
        "users",
        "median length",
        "K = 4: searches saved",
        "routing saved",
        "K = 8: searches saved",
        "routing saved",
    ],
    rows,
)
figure = b2i.interests_by_length(
    whole.numpy(), routing.num_interests(torch.arange(1, window + 1), 8).numpy(),
    {k: s.searches for k, s in savings.items()}, {k: s.routing for k, s in savings.items()}, window,
)  # fmt: skip
path = save_figure(figure, "02_adaptive.svg")
display(Markdown(
    f"**On {history.name}, in the window, Eq. 9 saves {savings[4].searches:.1%} of the searches at K = 4 and "
    f"{savings[8].searches:.1%} at K = 8.** For four interests sixteen behaviours are enough, and "
    f"{(lengths < 16).double().mean():.1%} of its users have fewer. At K = 8 the window itself saves 3/8 = {3 / 8:.1%}: "
    "50 behaviours never allow more than five interests."
))  # fmt: skip
assert all(0 <= s.routing <= s.searches < 1 for s in savings.values()), "light users are short"

# %% [markdown]
# These are all users of a log, counted and not estimated; a log with many newcomers would save more. Without
# a window (the line "whole"), K = 8 saves far less: long histories then have all eight. The
# picture: on the left Eq. 9 as a staircase, in the middle the lengths of the last log, on the right
# what its users save in the window for each $K$. One caution: a batch on a GPU, `mindlib`'s
# included, computes all $K$ rows and masks some. There the searches and the stored vectors are what is really saved.
#
# ## 4. What the paper leaves open, measured
#
# ### The axis of the softmax
#
# Eq. 6 can be read in two ways (section 1). Algorithm 1 computes the softmax for each behaviour, so over
# interests; much public code runs it over behaviours. In the first reading the interests compete for a
# behaviour. In the second, each interest looks for itself, and nothing keeps two from looking at the same things.

# %%
show_source(routing.compute_coupling)

# %%
axes = {"over interests": three, "over behaviours": replace(three, softmax_over="behaviors")}
by_axis = trials.recovery_by_scale(scales, axes, draws=draws, seed=5)
path = save_figure(b2i.curves(scales, by_axis, **labels), "02_axis.svg")
for scale in (4.0, 8.0):
    ours, other = (line[scales.index(scale)] for line in by_axis.values())
    print(f"length {scale:g}: over interests {ours.percent()}, over behaviours {other.percent()}")
    assert ours.low > other.high
ours, other = (
    by_rounds[10].found,
    trials.route_and_sort(users, replace(rounds[10], softmax_over="behaviors"), start).found,
)
print(f"length 4, ten rounds: over interests {ours.percent()}, over behaviours {other.percent()}")
assert ours.low > other.high

# %% [markdown]
# Algorithm 1's reading finds far more of the planted kinds, in untrained routing, at every length where
# either finds anything. More rounds do not close the gap.
#
# ### Mask before, or mask after?
#
# Two things can be absent. A batch pads its histories to one width: those places hold no *behaviour*. And a
# light user lacks some of the $K$ *interests*. Either must get no weight. Does it matter whether it is
# masked before the softmax, or cut off after it? *Arrives* is the share of the weight handed out that
# reaches a behaviour and an interest that are there; it should be all. The embeddings have length 1, as
# before training, where squash does not hide a loss.

# %%
young = trials.planted_users(draws, scale=1.0, generator=torch.Generator().manual_seed(10))
masked = {
    (axis, order): [
        routing_readings.route_masked(young, start, padding=p, unused=u, softmax_over=axis, mask_first=order == "before")
        for p, u in ((0, 0), (29, 0), (0, 1))
    ]
    for axis in ("interests", "behaviors") for order in ("before", "after")
}  # fmt: skip
show_table(
    ["softmax, mask", "arrives: nothing absent", "29 padded places", "one interest unused", "length of an interest: nothing absent", "29 padded places"],
    [[f"over {axis.replace('behaviors', 'behaviours')}, {order}", *(f"{m.arrives.value:.0%}" for m in line), *(f"{m.length.value:.2f}" for m in line[:2])]
     for (axis, order), line in masked.items()],
)  # fmt: skip
for (axis, order), (full, padded, light) in masked.items():
    hurt = axis == "behaviors" and order == "after"
    assert (padded.arrives.high < 0.9) == (padded.length.high < full.length.low) == hurt
    assert (light.arrives.high < 0.95) == (axis == "interests" and order == "after")

# %% [markdown]
# One rule covers the table: **what the softmax sums over must be masked before it.** Over behaviours, that
# is the padding. Cut off afterwards, its weight is gone: a user's interests grow shorter when somebody with
# a longer history joins her batch. Nothing about her has changed. Over interests, it is the unused
# interests: cut off afterwards, they take weight with them. The other mask may come before or after. `mindlib`
# does both: a finite floor before, zeros after. (With $-\infty$ before, a column that is all padding would be NaN.)
#
# ### The gradient: through the last round or through all?
#
# The paper does not say. Public code stops the gradient before the last weighted sum: there the
# weights $w_{ij}$ count as constants, and $\mathbf S$ and the embeddings learn through that sum alone.
# `RoutingConfig.paper()` does so; the line with `set_grad_enabled` is where it stops.

# %%
show_source(B2IRouting.forward)

# %%
luck = torch.Generator().manual_seed(7)
sample = trials.planted_users(draws, scale=4.0, generator=luck)
agreement = routing_readings.gradient_cosines(
    sample, three, trials.random_logits(sample, 3, 1.0, luck), generator=luck
)
gradient_cosine = mean_estimate(agreement)
print(f"cosine between the two gradients of S: {gradient_cosine}; the lowest {agreement.min():.2f}")
assert 0 < gradient_cosine.value < 1

# %% [markdown]
# For each user we took both gradients of the same score. In the mean they point nearly the same way, but not
# for everybody. What the difference adds up to, only training can say.
#
# ### After training
#
# All of this was geometry: routing of embeddings that nobody trained. So we train a small MIND in each
# reading, in a planted world. Every user has one to four known clusters of items, and one event in ten is
# noise. $K$ is 4. At the end of the table stand two models with one vector, MIND-1 ($K = 1$) and YouTube DNN:
# they are the floor. (The steps between these two are trained here as well, and shown in section 5.) Three questions, for each test user:
#
# - **Hits**: does her next item get into ten recommendations?
# - **Found**: which share of *her planted clusters* gives some vector more than half of its weight? That is the
#   measure of the first section, now for each cluster and not for "all three".
# - **Served**: which share of her planted clusters has a vector of its own in the *results*? A vector stands for
#   the cluster of most of its ten best items.

# %%
show_source(routing_study.small_world)
show_source(routing_study.small_training)

# %%
readings = {
    "Algorithm 1": {}, "gradient through all rounds": {"gradient": "all"},
    "softmax over behaviours": {"softmax_over": "behaviors"},
    "σ = 0.1": {"sigma": 0.1}, "σ = 5": {"sigma": 5.0}, "r = 10": {"iterations": 10},
}  # fmt: skip
ladder = {
    "YouTube DNN: mean": {}, "mean, S": {"bilinear": True}, "mean, squash": {"squashed": True},
    "sum": {"pool": "sum"}, "sum, squash": {"pool": "sum", "squashed": True},
    "MIND-1: sum, S, squash": {"pool": "sum", "bilinear": True, "squashed": True},
}  # fmt: skip
world, split = routing_study.small_world()
training, small = routing_study.small_training(epochs), routing_study.SMALL
builders = routing_study.mind_builders(split, readings) | routing_study.pooled_builders(
    split, ladder
)
trained = {
    name: routing_study.train_with_seeds(world, split, build, training, seeds=seeds)
    for name, build in builders.items()
}
print(
    f"{len(split.train):,} training examples, {world.log.num_items} items, {len(split.test):,} users, {seeds} seeds"
)

# %%
base, *_, top = ladder  # YouTube DNN, MIND-1
default = trained["Algorithm 1"]
geometry = {
    name: routing_study.geometry(trained[name].models[0], world, split.test.histories)
    for name in readings
}
untrained = MIND(split.log, default.models[0].config, generator=torch.Generator().manual_seed(0))
geometry["untrained"] = routing_study.geometry(untrained, world, split.test.histories)
compared = {name: trained[name] for name in (*readings, top, base)}
lengths = {name: geometry[name].length for name in readings}
show_table(
    routing_study.HEAD,
    [[name, *routing_study.row(one, default, lengths.get(name))] for name, one in compared.items()],
)
verdicts = {
    name: {what: routing_study.difference(one, default, what) for what in ("hits", "found", "served")}
    for name, one in compared.items() if one is not default
}  # fmt: skip
print("against Algorithm 1:")
for name, verdict in verdicts.items():
    print(f"  {name}: " + "; ".join(f"{what} {v.verdict}" for what, v in verdict.items()))
judges = {"popularity": Popularity(split.train_counts), "best possible": Oracle(world)}
mark = {
    name: evaluate(one, split.test, (10,)).means()["HitRate@10"] for name, one in judges.items()
}
print(
    f"HitRate@10 of popularity {mark['popularity']:.1%}, of an oracle that knows the interests {mark['best possible']:.1%}"
)
kept = [epoch for run in trained.values() for epoch in run.epochs]
print(
    f"{kept.count(epochs)} of {len(kept)} runs kept their last epoch: they might have gained from more"
)
print("length of S e, cosine of two items of a cluster, of two clusters:", "; ".join(
    f"{name} {g.length:.2f}, {g.inside:.2f}, {g.across:.2f}" for name, g in geometry.items()
    if name in ("untrained", "Algorithm 1")))  # fmt: skip
assert verdicts["σ = 0.1"]["found"].high < 0
assert verdicts[base]["found"].high < 0
assert default.mean("hits") > mark["popularity"]

# %% [markdown]
# Read the table with care. The intervals are paired over the test users, each averaged over the seeds: they
# say whether *these* trained models differ on *these* users. The words below the table count the seeds that
# agree. Neither knows of the luck of this one world. *Epoch kept* is the one that validation chose.

# %% [markdown]
# **One vector or several.** The last two lines are the floor. A single vector draws on everything: it finds a
# third of the interests (those of users with one interest, and the larger one of some with two) and
# serves half of them. MIND serves far more. In *hits* it does not gain: no line is clearly above
# Algorithm 1's, nor is that one clearly above one vector. A single vector can stand for a mixture and still hit the next
# item. Whoever wants every interest served must measure it; hits do not tell.
#
# **σ.** From 0.1 over 1 to 5 the hits hardly differ. That is the paper's robustness, and it is about hits. With σ = 0.1
# far fewer interests are found and served than with σ = 1. With σ = 5, no fewer.
#
# **The axis.** Over behaviours more is found and less is served than over interests. An interest may there live on a few
# behaviours: its weights are pure, and its vector says little. That may be the reason; section 6 has a name for
# it. In hits we see no clear difference.
#
# **How many rounds?** More than three, if interests matter. Ten rounds find and serve more interests than
# three, in every seed. Their routing multiplies 3.8 times as much (section 2). For hits we see no reason. The
# paper reports no study of $r$.
#
# **The gradient.** Through all rounds more is found and served, again in every seed. It costs the backward pass of
# every round. The
# paper's form keeps "last" because published code does so, and a reproduction should first do what was
# done. By this table one would choose the other, and `RoutingConfig()` has it.
#
# **What do the lengths mean?** Training makes $\mathbf S\vec e_i$ longer, and under Algorithm 1 not by much (last
# line printed). Section 2's picture promises little at such a length, and yet the table is better than that. It is another
# question. The picture wants *all three* kinds of a user, in untrained geometry. Here one to four clusters are
# counted one by one, and training has moved the items of a cluster together. And *served* is more than
# *found*: item vectors and the layers behind routing learn to retrieve with whatever routing gives them. Where the
# picture does help: with the gradient through all rounds the embeddings grow several times as long, and
# routing finds much more.

# %%
if at_the_defaults:
    by_reading = {
        name: {what: one.mean(what) for what in ("hits", "found", "served")}
        for name, one in compared.items()
    }
    hits = [by_reading[name]["hits"] for name in ("σ = 0.1", "Algorithm 1", "σ = 5")]
    assert max(hits) - min(hits) < 0.03, "robust in hits"
    assert all(row["hits"].low < 0.01 for row in verdicts.values()), "no gain in hits"
    assert min(verdicts[name]["hits"].high for name in (top, base)) > -0.01, "nor on one vector"
    assert verdicts["σ = 0.1"]["served"].high < -0.1 < -0.03 < verdicts["σ = 5"]["served"].low
    for name in ("r = 10", "gradient through all rounds"):
        assert min(verdicts[name][what].low for what in ("found", "served")) > 0.03
        assert all(
            d > 0 for d in verdicts[name]["served"].by_seed + verdicts[name]["found"].by_seed
        )
    assert (
        verdicts["softmax over behaviours"]["served"].high
        < 0
        < verdicts["softmax over behaviours"]["found"].low
    )
    assert by_reading[top]["found"] < 0.4 < by_reading[top]["served"] < 0.6 < default.mean("served")
    assert lengths["gradient through all rounds"] > 2 * lengths["Algorithm 1"]
assert geometry["Algorithm 1"].length > geometry["untrained"].length
assert geometry["Algorithm 1"].inside > geometry["untrained"].inside

# %% [markdown]
# ## 5. The case K = 1: routing does nothing
#
# The paper finds that MIND with one interest beats YouTube DNN and reads it as "routing pools better
# than averaging" (Table 2). Under Algorithm 1 that cannot be the reason.
#
# **Theorem.** If the softmax runs over interests and $K = 1$, then $w_{i1} = 1$ for every
# behaviour, whatever the logits. *Proof.* A softmax over one number is 1. ∎
#
# So $\vec u = \operatorname{squash}(\sum_i \mathbf S\vec e_i)$: no agreement, no iteration, no
# randomness. The same goes for each user with $K'_u = 1$. Equality cell:

# %%
single = RoutingConfig.paper(max_interests=1)
for r, sigma in ((1, 0.0), (3, 1.0), (10, 5.0)):
    module = trials.routing_with(S, replace(single, iterations=r, sigma=sigma))
    with torch.no_grad():
        one = module(users.behaviors, users.mask, trials.random_logits(users, 1, sigma, generator))
    assert torch.equal(one.coupling, torch.ones(draws, 1, 21))
    assert torch.allclose(one.vectors[:, 0], squash((users.behaviors @ S.T).sum(1)), atol=1e-5)

# %% [markdown]
# What then separates MIND-1 from YouTube DNN, the mean of the behaviours? Three things: the map
# $\mathbf S$, the squash, and the sum in place of the mean. The last two nearly cancel:
# squash fixes the length at almost 1 as soon as the sum is long.

# %%
for n in (1, 5, 21):
    summed = users.behaviors[:, :n].sum(1)
    before, after = (x.norm(dim=1).mean() for x in (summed, squash(summed)))
    print(f"{n:2} behaviours: |sum| {before:6.2f}, after squash {after:.3f}")
assert torch.allclose(cosine_similarity(squash(summed), users.behaviors.mean(1)), torch.ones(draws))
assert squash(summed).norm(dim=1).min() > 0.95

# %% [markdown]
# With $\mathbf S$ set aside, MIND-1 points exactly where the mean points. The head that follows begins with a
# linear layer, which could undo $\mathbf S$. So there is little left to gain. The steps between the two
# models were trained above: from the mean, one part is added alone ($\mathbf S$, squash, or the
# sum in its place), then sum and squash together, then all three. The equality at both ends:

# %%
show_source(Pooled.encode)


# %%
def same_as(model, twin, renamed):
    weights = {renamed.get(name, name): value for name, value in model.state_dict().items()}
    twin.load_state_dict(weights)
    vectors = (m.interests(split.test.histories)[0] for m in (model, twin))
    return torch.allclose(*vectors, atol=1e-5)


youtube = YouTubeDNN(split.log, YouTubeDNNConfig.paper(**small), generator=generator)
mind_1 = MIND(split.log, MINDConfig.paper(**small, routing=single), generator=generator)
assert same_as(youtube, builders[base](generator), {})
assert same_as(mind_1, builders[top](generator), {"routing.bilinear_map": "bilinear_map"})

# %%
ablation = {
    name: routing_study.difference(trained[name], trained[base], "hits")
    for name in ladder
    if name != base
}
figure = b2i.metric_ladder(
    {name: trained[name].by_seed("hits") for name in ladder}, mark,
    "HitRate@10, percent; a point for each seed, a bar at their mean",
)  # fmt: skip
path = save_figure(figure, "02_k1_ablation.svg")
show_table(
    ["HitRate@10 against " + base, "points", "in words"],
    [[name, d.points(1), d.verdict] for name, d in ablation.items()],
)
print(f"clearly better: {sum(d.low > 0 for d in ablation.values())}, clearly worse: "
      f"{sum(d.high < 0 for d in ablation.values())}, of {len(ablation)} steps")  # fmt: skip
assert min(trained[name].mean("hits") for name in ladder) > mark["popularity"]
if at_the_defaults:
    assert all(d.low <= 0 for d in ablation.values()), "no part gains clearly"

# %% [markdown]
# *Popularity* recommends the most frequent items to everybody. *Best possible* knows each user's true
# clusters and the items' true probabilities; no model can know more.
#
# **Neither $\mathbf S$, nor the sum, nor the squash, nor all three together are clearly better than the mean here.**
# With three seeds, a difference of two points is not clear. (One
# world, and one learning rate for all, tuned for none.) The paper's gain of MIND-1 is not seen. And whatever the
# signs, no step of the ladder contains routing. A gain of MIND-1, like the paper's, has to
# be looked for in the sum, the squash, $\mathbf S$ or the tuning; or the authors' code used the other
# axis, where $K = 1$ is a kind of attention.
#
# ## 6. Two diseases: interest collapse and routing collapse
#
# They are often confused, and they are nearly opposites.
#
# - **Interest collapse**: the interests of a user are one vector. Sign: a mean pairwise *cosine* near 1.
# - **Routing collapse**: each interest copies a single behaviour. Sign: the *entropy* of its weights,
#   taken over behaviours and divided by $\log n$, near 0.
#
# Health lies between: a low cosine, and an entropy of $\log 7/\log 21 = 0.64$ for users like Ana. An entropy
# of 1 is no health. It means that interests draw on everything alike.

# %%
show_source(interest_cosine)
show_source(routing_entropy)

# %% [markdown]
# We construct patients. *Healthy*: ten rounds. *Not yet sorted*: the usual three. *Interest collapse* is easy:
# tiny embeddings and a small σ, so that neither agreement nor luck separates anything. For *routing collapse*
# we need the other axis and long embeddings: there an interest may spend all its weight on one behaviour.
# Under Algorithm 1 that cannot happen to all interests at once. Each behaviour hands out a weight of 1 in total,
# so it must appear somewhere; with more behaviours than interests, some interest holds several.

# %%
cases = {
    "healthy": (4.0, replace(three, iterations=10)),
    "not yet sorted": (4.0, three),
    "interest collapse": (0.05, replace(three, sigma=0.1)),
    "routing collapse": (30.0, axes["over behaviours"]),
}
patients = {
    name: routing_readings.diagnose(config, scale=scale, draws=draws, seed=8)
    for name, (scale, config) in cases.items()
}
pictures = [
    b2i.Picture(name, normalize(p.capsules.coupling[0], p=1, dim=1).numpy(),
                f"cosine {p.cosine.value:.2f}, entropy {p.entropy.value:.2f}")
    for name, p in patients.items()
]  # fmt: skip
figure = b2i.heat_maps(pictures, columns=4, label="share of the interest's weight", limit=0.4)
path = save_figure(figure, "02_two_diseases.svg")
cosine_of, entropy_of = ({name: p[n].value for name, p in patients.items()} for n in (1, 2))
assert cosine_of["interest collapse"] > 0.99 > 0.95 < entropy_of["interest collapse"]
assert cosine_of["routing collapse"] < 0.9 > 0.35 > entropy_of["routing collapse"]
assert cosine_of["healthy"] < 0.2 > abs(entropy_of["healthy"] - 0.64) * 4
assert entropy_of["not yet sorted"] > entropy_of["healthy"] + 0.1

# %% [markdown]
# The pictures show one user, the numbers are means over all. Each row is divided by its sum, as the entropy
# has it; the colours end at 0.4. Interest collapse: three equal rows, a cosine of 1 and a *perfect* entropy.
# Routing collapse: three bright cells, nothing is averaged, and the interests still differ. So one
# thermometer cannot do the work of the other. A paper that reports only diversity between interests may
# praise routing collapse, and one that reports only even routing may praise interest collapse.
#
# Now let the embeddings grow, for both axes of the softmax. Each becomes a path in a plane, with a disease at
# its upper right corner, another along its lower edge, and health at the star.

# %%
path_scales = (0.05, 1, 2, 4, 8, 16, 30)
paths = {name: [] for name in axes}
for name, config in axes.items():
    for scale in path_scales:
        patient = routing_readings.diagnose(config, scale=scale, draws=draws, seed=8)
        paths[name].append((patient.cosine.value, patient.entropy.value))
health = perfect.cosine.value, perfect.entropy.value
figure = b2i.collapse_map(paths, [f"{scale:g}" for scale in path_scales], health)
path = save_figure(figure, "02_collapse_map.svg")
(ours_x, ours_y), (other_x, other_y) = (zip(*path, strict=True) for path in paths.values())
assert all(list(line) == sorted(line, reverse=True) for line in (ours_x, ours_y, other_y))
assert max(abs(ours_y[-1] - health[1]), abs(ours_x[-1] - health[0])) < 0.12
assert other_y[-1] < 0.3 < min(other_x)
assert health[1] > 0.6

# %% [markdown]
# The numbers at the points are the lengths $|\mathbf S\vec e_i|$. Both paths start at the upper right, where
# short embeddings leave all interests alike. **Over interests**, growing embeddings lead to the star, and
# no further: the entropy stops where each interest holds a kind. **Over behaviours**, the path misses the star. The
# entropy goes on falling, to single behaviours, while the cosine stops falling half-way: two interests
# may still choose the same kind. So sharper routing cures the first disease on both axes. On the second axis it brings
# on the other one.
#
# ## 7. Move it yourself
#
# Another user, not Ana, and the same luck whatever you set; red lines part her three kinds. On
# the right, the cosine of each two interests. The diagonal is 1; elsewhere red means alike. As it stands all
# three kinds are found, and two rows still share columns. Without sliders, the table says what becomes of her.


# %%
def look(sigma, iterations, interests, scale, softmax):
    config = RoutingConfig.paper(
        max_interests=interests, iterations=iterations, sigma=sigma,
        adaptive=False, softmax_over=softmax,
    )  # fmt: skip
    one = routing_view.view(config, scale=scale, seed=0)
    parts = (part.numpy() for part in one[:3])
    return b2i.coupling_and_cosine(*parts, f"{one.found} of 3 planted kinds found")


view = explore(
    look,
    sigma=ipywidgets.FloatSlider(value=1.0, min=0, max=5, step=0.1, description="σ"),
    iterations=ipywidgets.IntSlider(value=3, min=1, max=10, description="rounds r"),
    interests=ipywidgets.IntSlider(value=3, min=1, max=8, description="K"),
    scale=ipywidgets.FloatLogSlider(value=4.0, base=10, min=-1.3, max=1.2, description="|e|"),
    softmax=ipywidgets.Dropdown(options=["interests", "behaviors"], description="softmax"),
)
tries = {
    name: routing_view.view(config, scale=scale, seed=0)
    for name, (scale, config) in routing_view.TRIES.items()
}
show_table(
    ["try this", "kinds found", "largest cosine of two interests"],
    [[name, one.found, f"{one.cosine.triu(1).max():.2f}"] for name, one in tries.items()],
)
assert tries["as it stands"].found == 3 > tries["one round: only the draw"].found
assert tries["σ = 0: equal rows"].found == 0

# %% [markdown]
# ## 8. The bug museum
#
# Seven mistakes, met while reading public implementations, are listed below. None raises an error; each returns
# interests that look like interests. In `mindlib.lessons.n02_b2i.routing_museum` routing is put together from four parts: the softmax with its
# masks (`coupling`), the initial logits, the update of the logits, and whether logits are kept between calls.
# Each exhibit exchanges one. Put together rightly, the parts are `B2IRouting` (asserted below).

# %%
show_source(routing_museum.Routing.__call__)

# %% [markdown]
# How does one catch a mistake whose result looks right? With **properties**: questions that need no right
# answer to compare with. Pad the window, take a user out of the batch, ask twice, shuffle. It takes a *pair* of
# calls that ought to agree. There are six. Here is one of them, and the function that asks them all:

# %%
show_source(routing_properties.padding_changes_nothing)
show_source(routing_properties.violations)

# %%
own = routing_museum.Routing()
ours = own(users.items, users.behaviors, users.mask)
hashed = gaussian_logits(users.items, 3, sigma=1.0, seed=0)
assert torch.allclose(ours.vectors, trials.route_users(users, three, hashed).vectors, atol=1e-5)
exhibits = routing_museum.MUSEUM
lacks = {e.name: routing_properties.violations(e.make()) for e in exhibits}
show_table(
    ["exhibit", "its harm", "properties it lacks"],
    [["*mindlib's own*", "", ", ".join(routing_properties.violations(own)) or "none"]]
    + [[e.name, e.story, ", ".join(lacks[e.name])] for e in exhibits],
)
print(f"{sum(map(bool, lacks.values()))} of {len(exhibits)} exhibits are caught")
tests = Path(mindlib.__file__).parents[1] / "tests"
files = sorted(tests.glob("*/mutants.py"))
if files:  # they are absent where mindlib is installed without its tests
    found = "".join(file.read_text(encoding="utf-8") for file in files)
    mutants = re.findall(r'mutant\(\s*"([^"]+)", (\w+)', found)
    rules = [rule for rule, module in mutants if module == "ROUTING"]
    assert len(rules) > 5
    print(
        f"tests/*/mutants.py have {len(mutants)} mutants of mindlib, {len(rules)} of them of routing: {'; '.join(rules[:5])}; ..."
    )
assert routing_properties.violations(own) == []
assert all(set(lacks[e.name]) == set(e.violates) for e in exhibits)

# %% [markdown]
# Every exhibit lacks at least one property and `mindlib` none. That holds in the test suite too, where
# `tests/lessons/n02_b2i/test_routing_museum.py` asks the same, exhibit by exhibit. And does the suite itself catch
# mistakes in `mindlib`'s real source? `tests/test_mutants.py` tries: it breaks one rule in a copy of the
# package, runs the tests that bear the rule's name, and *fails if they pass*. So `make test` is green only if
# every one of those mutants is killed.
#
# Would accuracy have told? Here are the exhibits on our users, in an order of their own, with nine places of
# padding, fifty users to a call. All have the same number of behaviours, and padding embeds to zeros.

# %%
mixed = users.shuffled(torch.Generator().manual_seed(13))
museum = routing_harms.gallery(mixed, padding=9, size=50)
show_table(
    ["exhibit", "all three found", "alike, with mindlib's interests", "length of an interest"],
    [[name, e.found.percent(), e.alike, f"{e.length:.2f}"] for name, e in museum.items()],
)
print(f"floor of likeness (zero logits, no routing): {museum['zero logits'].alike.value:.2f}")
pictures = [
    b2i.Picture(k, e.coupling.numpy(), f"all found: {e.found.value:.0%}") for k, e in museum.items()
]
path = save_figure(b2i.heat_maps(pictures, columns=4, label="coupling $w_{ij}$"), "02_museum.svg")
reference, shrunk = museum["mindlib's own"], museum["softmax over behaviours, mask after"]
assert museum["zero logits"].found.value == 0
for unseen in ("padding gets 1/K", "unused interests share"):
    assert museum[unseen].found == reference.found, "recovery does not see it"
assert museum["logits fixed by position"].found.high > reference.found.low, "nor this one"
assert shrunk.found.high < reference.found.low
assert shrunk.length < reference.length

# %% [markdown]
# The pictures show the last user: her 21 behaviours sorted by kind, then the padding. Three exhibits
# find as many kinds as `mindlib`; accuracy cannot tell them. Their harm shows elsewhere:

# %%
shown = routing_harms.harms(mixed, torch.Generator().manual_seed(14))
show_table(["exhibit", "two calls that ought to agree", "alike, should be 1"], [[h.exhibit, h.situation, h.alike] for h in shown])  # fmt: skip
shy = young.shuffled(torch.Generator().manual_seed(15))
lost = {r: routing_harms.lost_weight(shy, behaviors=5, iterations=r) for r in (1, 3)}
print(
    f"unused interests share: a light user's behaviours lose {lost[1].percent()} of their weight in the first round, {lost[3].percent()} in the third"
)
assert all(h.alike.high < 0.995 for h in shown)
assert abs(lost[1].value - 1 / 3) < 0.05 < lost[3].low < lost[3].high < lost[1].low

# %% [markdown]
# The light user has five behaviours, so two interests of three. The unused third takes a third of the weight at
# first, and less later: having no vector, it wins no agreement.
#
# ## Exercises
#
# ### How many interests?
#
# Write Eq. 9, rounded down. `lengths` is a tensor of whole numbers, `most` is $K$. Mind a user with one
# behaviour.


# %%
def number_of_interests(lengths, most):
    return None


done = NUMBER_OF_INTERESTS.check(number_of_interests)


# %% jupyter={"source_hidden": true} tags=["solution"]
def number_of_interests(lengths, most):
    powers = 2 ** torch.arange(1, most + 1)  # exact, where a floating-point log2 may not be
    return (lengths[:, None] >= powers).sum(1).clamp(min=1)


assert NUMBER_OF_INTERESTS.check(number_of_interests)

# %% [markdown]
# ### One round, with its masks
#
# Weights from the logits, weighted sum, squash. `mask` (batch, length) says where a behaviour is,
# `active` (batch, interests) which interests a user has; `logits` are (batch, interests, length).
# Return the interests. The last example has both padding and a user with one interest.


# %%
def one_round(behaviors, bilinear_map, mask, active, logits):
    return None


done = ONE_ROUND.check(one_round)


# %% jupyter={"source_hidden": true} tags=["solution"]
def one_round(behaviors, bilinear_map, mask, active, logits):
    absent = ~active[:, :, None]
    weights = logits.masked_fill(absent, -torch.inf).softmax(1)
    weights = weights * mask[:, None, :]
    return squash(weights @ behaviors @ bilinear_map.T)


assert ONE_ROUND.check(one_round)

# %% [markdown]
# ## What to remember
#
# - **One shared map** removes what ties a behaviour to its place, so histories of any length are routed. (Order
#   drops out for good once the logits belong to items, too.) It also makes all
#   interests identical unless something breaks the symmetry: the random logits do.
# - **σ and the length of the embeddings are both measured in logits.** A round moves a logit by less than
#   $|\mathbf S\vec e_i|$. In three rounds of untrained routing short embeddings leave only
#   the draw, a large σ hides the data, and a small one starts slowly.
# - **Redrawn logits are not reproducible.** Derived from the item, they are: same twice, alone or in a
#   batch, in any order.
# - **A start at behaviours far apart needs no luck**, and finds at once what noise finds in ten rounds. It seats
#   strays too. With cosines, agreement no longer waits for embeddings to grow.
# - **Eq. 9 saves what short histories save**: very little at $K = 4$ where most users have 16 behaviours or more. At $K = 8$
#   the window saves, not the user.
# - **The softmax runs over interests**, and untrained routing then finds the planted kinds far more often.
#   What it sums over must be masked before it.
# - **Three rounds are few.** Ten find and serve more interests here; hits do not tell.
# - **With K = 1 routing does nothing**: all weights are 1.
# - **Two collapses, two thermometers**: cosine for interests, entropy for routing.
# - Test routing by **properties** (pad, single, twice, shuffle). Accuracy misses what they catch.

# %%
seconds = time.perf_counter() - started
metrics = {
    "dataset": dataset, "draws": draws, "seconds": seconds, "savings": {str(k): s._asdict() for k, s in savings.items()},
    "rounds": {str(r): row._asdict() for r, row in by_rounds.items()}, "kmeans": {k: row._asdict() for k, row in kmeans.items()},
    "sigma": {f"{s:g}, r = {r}": row._asdict() for (s, r), row in by_draw.items()},
    "second_request": {k: row._asdict() for k, row in second.items()}, "gradient_cosine": gradient_cosine,
    "trained": {k: {what: one.by_seed(what) for what in ("hits", "found", "served")} for k, one in trained.items()},
    "against_defaults": {k: {what: v._asdict() for what, v in row.items()} for k, row in verdicts.items()},
    "geometry": {k: g._asdict() for k, g in geometry.items()}, "ablation": {k: d._asdict() for k, d in ablation.items()} | mark,
    "diagnosis": {"cosine": cosine_of, "entropy": entropy_of}, "museum": {k: e.found.value for k, e in museum.items()},
}  # fmt: skip
path = write_metrics("02_b2i_routing", metrics)
print(f"{seconds:.0f} seconds on {torch.get_num_threads()} core(s); the metrics are in {path.name}")
