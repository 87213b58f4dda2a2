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
# # 01 · Dynamic routing
#
# After this notebook you can write dynamic routing in ten lines of PyTorch, compute its iterations by hand, and
# recognize two mistakes that raise no error: a softmax over the wrong axis, and logits that are replaced instead of
# accumulated. The page takes about 25 minutes and assumes knowledge of PyTorch, but not of capsules.
#
# MIND ([Li et al., CIKM 2019](https://arxiv.org/abs/1904.08030)) represents a user by several interest vectors. The
# layer that extracts them, highlighted in Figure 1.1, is a variant of dynamic routing between capsules ([Sabour, Frosst
# and Hinton, 2017](https://arxiv.org/abs/1710.09829)). This notebook explains the original, which the MIND paper
# summarizes in §3.3.1; notebook 02 adds MIND's changes. Equation and § numbers are the MIND paper's.
# Claims are marked **Paper** or **Measured here** (95 % intervals in parentheses). Collapsed cells check our
# code against mindlib, the library of these notebooks.

# %% tags=["parameters"]
draws: int = 400  # number of random examples for the measured shares of section 5
seed: int = 0  # seed of the random examples

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import textwrap
import time

from mindlib.lessons.common.report import Number, check_parameters, save_figure, write_metrics

check_parameters(
    globals(), {"draws": Number(50, 5000, whole=True), "seed": Number(0, 2**31, whole=True)}
)
started = time.perf_counter()

import torch
from torch.nn import functional as F

import mindlib.layers.routing
from mindlib.data import leave_last_out, load
from mindlib.evaluation import mean_estimate, share_estimate
from mindlib.lessons.common.architecture import show_architecture
from mindlib.lessons.common.page import show_table
from mindlib.lessons.common.style import use_style
from mindlib.lessons.common.widgets import frames
from mindlib.lessons.n01_routing import figures
from mindlib.lessons.n01_routing.exercises import HARD_ROUTING, ROUTE_BATCH
from mindlib.lessons.n01_routing.films import films_in_plane
from mindlib.lessons.n01_routing.iterations import follow, planted_votes, settled

use_style()
torch.set_printoptions(precision=3, sci_mode=False)
show_architecture("routing")

# %% [markdown]
# **Figure 1.1.** The routing layer (B2I: behavior to interest) turns the embeddings of a user's behaviors into the
# user's interest capsules $u_j$. Notebooks 00 and 02 explain the other symbols.
#
# ## 1. A capsule is a vector whose norm is a confidence
#
# A neuron's output is a number, whereas a **capsule** is a vector. The vector's direction describes an entity, and its
# norm is the confidence that the entity is present. In MIND, the direction of an interest's capsule indicates which
# items match the interest.
#
# Routing computes a capsule from a weighted sum $z$ of vectors. **Squash** keeps the direction of $z$ and changes its
# norm from $s$ to $s^2 / (1 + s^2)$, which is below 1:
#
# $$\operatorname{squash}(z) = \frac{\|z\|^2}{1 + \|z\|^2}\,\frac{z}{\|z\|} \tag{7}$$


# %%
def squash(z):
    """Eq. 7: keep the direction of z and map its norm into [0, 1)."""
    square = (z * z).sum(-1, keepdim=True)
    return square / (1 + square) * z / (square + 1e-30).sqrt()  # 1e-30: no division by 0


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def check_squash():
    z = torch.randn(1000, 8, generator=torch.Generator().manual_seed(seed))
    z[0] = 0
    torch.testing.assert_close(squash(z), mindlib.layers.routing.squash(z))
    print("squash equals mindlib's squash on 1,000 random vectors, one of which is zero")


check_squash()
norms = (0.1, 0.5, 1.0, 3.0, 10.0)
outputs = [float(squash(torch.tensor([norm, 0.0])).norm()) for norm in norms]
show_table(["norm of $z$", *norms], [["norm of squash($z$)", *(f"{x:.4f}" for x in outputs)]])

# %% [markdown]
# Squash is nearly quadratic for short vectors, so a short sum almost vanishes. For long vectors it saturates: the
# norm approaches 1.
#
# ## 2. Routing by hand
#
# Routing computes $K$ **high-level capsules** $u_j$ from $L$ **low-level capsules** $c_i$. In an image, a low-level
# capsule may describe a nose and a high-level capsule a face. In MIND, a low-level capsule is a **behavior**, such as
# a watched film, and a high-level capsule an **interest**. The paper and Figure 1.1 use different letters:
#
# | | here | paper, §3.3.1 | Figure 1.1 |
# |---|---|---|---|
# | low-level | $c_i$, $i \le L$ | $c_i^l$, $i \le m$ | $e_i$, $i \le n$ |
# | high-level | $u_j$, $j \le K$ | $c_j^h$, $j \le n$ | $u_j$, $j \le K'_u$ |
#
# Each low-level capsule predicts every high-level capsule. The prediction $S_{ij}\,c_i$ is called a **vote**. Each pair
# $(i, j)$ has its own trained matrix $S_{ij}$. Routing has no other trained parameters: it computes the $u_j$ from the
# votes, anew for each input.
#
# If a nose and a mouth predict the same face, they probably belong to it. Accordingly, **a low-level capsule is
# assigned to the high-level capsule for which its vote agrees best with the votes of the other low-level capsules.**
#
# Our example has three low-level and two high-level capsules in the plane. In all tensors, the index $j$ precedes $i$,
# so `pencil[j, i]` below is the vote $S_{ij}\,c_i$:

# %%
pencil = torch.tensor(
    [
        [[2.0, 1.0], [2.0, -1.0], [-2.0, 0.0]],  # votes for high-level capsule 1
        [[1.0, 2.0], [-1.0, -2.0], [0.0, 2.0]],  # votes for high-level capsule 2
    ]
)  # (K, L, d) = (2 interests, 3 behaviors, 2 dimensions)

# %% [markdown]
# **Predict** the high-level capsule to which each low-level capsule will be assigned.
#
# The votes of $c_1$ and $c_2$ for $u_1$ point right, and that of $c_3$ left. The votes of $c_1$ and
# $c_3$ for $u_2$ point upward, and that of $c_2$ downward. Therefore $c_2$ should be assigned to $u_1$, and $c_3$ to
# $u_2$, whereas $c_1$ agrees with both majorities.
#
# Routing keeps a **logit** $b_{ij}$ for each pair. All logits start at 0, and each iteration has four steps:
#
# $$w_{ij} = \frac{\exp b_{ij}}{\sum_{k=1}^{K} \exp b_{ik}} \tag{6}$$
#
# $$z_j = \sum_{i=1}^{L} w_{ij}\,S_{ij}\,c_i \tag{5}$$
#
# $$u_j = \operatorname{squash}(z_j) \tag{7}$$
#
# $$b_{ij} \leftarrow b_{ij} + u_j^\top S_{ij}\,c_i \tag{4}$$
#
# The **weight** (coupling coefficient) $w_{ij}$ is the share of $c_i$ assigned to $u_j$. The inner product
# $u_j^\top S_{ij}\,c_i$ is the **agreement** between vote and capsule. Eqs. 4 and 6 are corrected here; sections 5
# and 6 explain the misprints.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
_ = save_figure(figures.loop(), "01_loop.svg")

# %% [markdown]
# **Figure 1.2.** One iteration turns logits into weights, weights into capsules, and capsules into new logits. It
# begins at the thick box. The votes never change.
#
# **Iteration 1.** All logits are 0, so all weights are 1/2, and $z_1 = \frac12 [(2, 1) + (2, -1) + (-2, 0)] = (1, 0)$.
# Squash shortens $z_1$ from norm 1 to 1/2, so $u_1 = (\frac12, 0)$. Its agreements with the votes of $c_1$, $c_2$ and
# $c_3$ are $1$, $1$ and $-1$. Similarly, $u_2 = (0, \frac12)$, and its agreements are $1$, $-1$ and $1$. These
# agreements are the logits of the next iteration.
#
# **Iteration 2.** The logits of $c_2$ are $1$ for $u_1$ and $-1$ for $u_2$, so its weight for $u_1$ is
# $e / (e + e^{-1}) = 0.881$. For $c_3$, the weights are reversed. The two logits of $c_1$ are equal, so it remains
# split evenly. In $z_1$, the opposing vote $(-2, 0)$ now has little weight, so $z_1$ becomes longer. It also turns
# downward, toward $(2, -1)$, the vote with the largest weight: $u_1 = (0.8572, -0.1294)$. Routing reinforces itself,
# because a larger weight draws the capsule toward the vote and thereby raises their agreement. In $z_2$, the vote
# $(-1, -2)$ no longer cancels $(1, 2)$, so $z_2$ turns to the right: $u_2 = (0.1294, 0.8572)$.
#
# **Iteration 3.** The weights of $c_2$ turned $z_1$ and $z_2$ and thereby made the logits of $c_1$ unequal. The
# agreement of $u_1$ with the vote $(2, 1)$ is $2 \cdot 0.8572 - 0.1294 = 1.585$. The agreement of $u_2$ with the vote
# $(1, 2)$ is larger, $0.1294 + 2 \cdot 0.8572 = 1.844$, because $u_2$ turned toward the vote of $c_1$, whereas $u_1$
# turned away. Added to the logits of $c_1$, both 1, these agreements give $c_1$ the weight 0.564 for $u_2$.
#
# ## 3. The loop in code
#
# Each equation is one line:


# %%
def dynamic_routing(votes, r):
    """Return the high-level capsules u and the weights w after r iterations."""
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)  # Eq. 6: over the interests
        z = (w[:, :, None] * votes).sum(1)  # Eq. 5
        u = squash(z)  # Eq. 7
        b = b + (u[:, None, :] * votes).sum(2)  # Eq. 4
    return u, w


for t in (1, 2, 3, 10):
    print("iteration", t, "weights for capsule 2:", dynamic_routing(pencil, t)[1][1])


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def check_routing():
    votes = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(seed))
    for r in (1, 2, 3, 7):
        u, w = mindlib.layers.routing.dynamic_routing(votes[None], r)
        ours = dynamic_routing(votes, r)
        if not all(
            torch.allclose(x, y, atol=1e-5) for x, y in zip(ours, (u[0], w[0]), strict=True)
        ):
            print(f"after an edit: the loop differs from mindlib's from iteration {r} on")
            return
    print("the loop equals mindlib's loop for 1, 2, 3 and 7 iterations on random votes")


check_routing()
seen = follow(dynamic_routing, pencil, 3)
_ = save_figure(
    figures.by_hand(pencil.numpy(), seen.weights.numpy(), seen.capsules.numpy()), "01_by_hand.svg"
)

# %% [markdown]
# **Figure 1.3.** For each high-level capsule, the opposing vote loses its weight within three iterations, so the
# capsule becomes longer. An arrow's width and the number at its tip show the vote's weight.
#
# The last update of `b` is never used, so with $r = 3$ only two updates affect the output. With $r = 1$ there is no
# routing: the loop squashes sums whose weights are all $1/K$.
#
# **Try**: replace `squash(z)` with `z` in the loop, then rerun its cell and the collapsed cell after it, whose check
# reports a difference. Squash shortens every vector, so without it the agreements are larger and the weights sharpen
# faster. Restore the line and rerun afterward.
#
# ### Exercise 1: a batch of users
#
# Write the loop for a batch of `B` users, whose votes have shape `(B, K, L, d)`, and return the capsules `(B, K, d)`.
# Every axis number changes, so note for each sum which axis it removes.


# %%
def route_batch(votes, r):
    return None  # your lines


_ = ROUTE_BATCH.check(route_batch)


# %% jupyter={"source_hidden": true} tags=["solution"]
def route_batch_solution(votes, r):
    b = torch.zeros(votes.shape[:3])
    for _ in range(r):
        w = b.softmax(1)
        u = squash((w[..., None] * votes).sum(2))
        b = b + (u[:, :, None, :] * votes).sum(3)
    return u


_ = ROUTE_BATCH.check(route_batch_solution)

# %% [markdown]
# ## 4. Eleven films, three interests
#
# We route films of a user whose history in [MovieLens-1M](https://grouplens.org/datasets/movielens/1m/) mixes film
# noir, animation and war. We take up to four films of each genre, plus *Who Framed Roger Rabbit?*, which is both
# animation and film noir. A film's $c_i$ holds $\sqrt{L}$ times its entries in the two leading singular vectors of
# these films' user–film matrix (with normalized columns), so similar audiences give similar directions.
#
# Instead of training the matrices, we set one by hand for each interest: $S_j$ triples the component of a vector along
# the direction of one film. The film is *L.A. Confidential* for interest 1 (film noir), *A Close Shave* for
# interest 2 (animation), and *Saving Private Ryan* for interest 3 (war). A film therefore has a long vote for an
# interest if its audience resembles that of the interest's film.

# %%
log = load("movielens-1m")
split = leave_last_out(log)
films, e, first = films_in_plane(split)  # e (L, 2): the low-level capsules c_i


def stretch(direction):
    t = direction / direction.norm()
    return torch.eye(2) + 2 * torch.outer(t, t)


S = torch.stack([stretch(e[i]) for i in first])  # (K, 2, 2)
votes = torch.einsum("jde,ie->jid", S, e)  # (K, L, 2)

# %% [markdown]
# In iteration 1, all weights are 1/3. **Predict** whether all capsules then point the same way, and to which interest
# *Who Framed Roger Rabbit?* is finally assigned.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
titles = [textwrap.shorten(log.titles[film], 30, placeholder=" …") for film in films]
interests = ["film noir", "animation", "war"]
seen = follow(dynamic_routing, votes, 8)
_ = save_figure(figures.iterations(seen, titles, interests, (1, 2, 3, 8)), "01_rounds.svg")

# %% [markdown]
# **Figure 1.4.** For each film, the largest weight (framed) belongs to the same interest in iterations 3 and 8. In
# iteration 2, only that of *Schindler's List* (dashed) belongs to another interest. After iteration 3, the weights only
# sharpen.
#
# The capsules already differ in the first iteration, because their matrices differ. In iteration 3, *Who Framed Roger
# Rabbit?* has a weight of 0.71 for film noir and only 0.04 for animation, because its audience resembles that of the
# other film noir titles (Figure 1.5).

# %% jupyter={"source_hidden": true} tags=["hide-input"]
frames(
    lambda iteration: figures.one_iteration(seen, e, titles, interests, iteration),
    "Numbered films and capsules in the plane, and the weights of each film, in one iteration",
    {"iteration": 3},
    iteration=range(1, 9),
)

# %% [markdown]
# **Figure 1.5.** In iteration 3, each film has its largest weight for the capsule that is nearest in direction. Move
# the slider to see other iterations. The points are the films' $c_i$, not their votes. A point's color shows which
# weight is largest (gray: all are equal); a sector's color shows which capsule is nearest.
#
# Routing resembles soft K-means: the votes are the points, the capsules the centers and the weights the assignments;
# Eqs. 5 and 7 update the centers. However, a behavior has a different point for each center, and its logits accumulate.
#
# ### Exercise 2: hard assignment (an experiment)
#
# **Predict** what happens to the eleven films if each is assigned entirely to the interest for which its logit is
# largest. Then write `hard_routing(votes, r)`, which returns the capsules, and explain their norms. (`F.one_hot` and
# `argmax` are enough.)


# %%
def hard_routing(votes, r):
    return None  # your lines


if HARD_ROUTING.check(hard_routing):
    print("norms of the capsules:", hard_routing(votes, 3).norm(dim=1))


# %% jupyter={"source_hidden": true} tags=["solution"]
def hard_routing_solution(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = F.one_hot(b.argmax(0), len(b)).T.float()  # instead of b.softmax(0)
        u = squash((w[:, :, None] * votes).sum(1))
        b = b + (u[:, None, :] * votes).sum(2)
    return u


_ = HARD_ROUTING.check(hard_routing_solution)
print("norms of the capsules:", hard_routing_solution(votes, 3).norm(dim=1))
print(
    "All logits are equal in iteration 1, so argmax returns the first interest, which receives every\n"
    "film. The other capsules are 0, and so is every agreement with them. A film leaves the first\n"
    "interest only if its agreement with that capsule is negative, and here none is. Soft weights give\n"
    "every interest a nonzero sum in iteration 1 and therefore nonzero agreements."
)

# %% [markdown]
# ## 5. Iterations sharpen the weights
#
# Each iteration adds an agreement to each logit. Unless the capsules are equal, the differences between logits
# usually keep growing, so the weights approach 0 or 1.
#
# We measure this on the votes of three planted groups of four low-level capsules. The members of group $j$ share one
# vote for high-level capsule $j$, apart from noise of about 0.3 times its norm. Their other votes have random
# directions. All votes have dimension 8 and a norm of about 2. A high-level capsule is *settled* if its cosine with its
# iteration-60 value exceeds 0.95; a weight is settled if it is within 0.05 of its iteration-60 value.
#
# **Predict** whether the capsules, the weights or the logits settle first, and which of them never settle.

# %%
examples = planted_votes(draws, torch.Generator().manual_seed(seed))  # (draws, K, L, d)
seen = follow(torch.vmap(dynamic_routing, in_dims=(0, None)), examples, 60)
capsules_settled, weights_settled = settled(seen)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
at = (1, 2, 3, 5, 10, 20)
gap = (seen.logits.amax(2) - seen.logits.amin(2)).mean(2)  # (iterations, draws)
shares = {
    name: {t: share_estimate(found[t - 1]) for t in at}
    for name, found in (("capsules", capsules_settled), ("weights", weights_settled))
}
show_table(
    ["iteration", *at],
    [
        *([f"all {name} settled, share of examples", *(x.percent() for x in row.values())]
          for name, row in shares.items()),
        ["largest difference between logits of one low-level capsule, mean", *(str(mean_estimate(gap[t - 1])) for t in at)],
    ],
)  # fmt: skip

# %% [markdown]
# **Measured here**: the capsules settle first, in nearly all examples by iteration 3. In most examples, the weights
# settle only after iteration 5; the differences between logits keep growing. Convergence checks should therefore use
# the capsules or the weights, not the logits.
#
# **Paper**: three iterations are usual; the paper neither reports nor varies the number in its experiments.
#
# If the votes are short, three iterations leave the weights near $1/K$. Squash strengthens this effect: where it is
# quadratic, votes one tenth as long give capsules about 1/100 as long and agreements about 1/1,000 as large. Where
# squash saturates, shortening the votes reduces the agreements less. The films' votes show both:

# %%
for scale in (1.0, 0.1, 0.01, 0.001):
    u, _ = dynamic_routing(scale * votes, 1)
    update = (u[:, None, :] * scale * votes).sum(2).abs().mean()
    _, w = dynamic_routing(scale * votes, 3)
    print(f"votes times {scale:5}: mean norm of u {u.norm(dim=1).mean():.1e},", end=" ")
    print(f"first update {update:.2e}, largest weight {w.max():.4f}")

# %% [markdown]
# ### Why the agreement is added
#
# As printed, Eq. 4 is $b_{ij} = u_j^\top S_{ij}\,c_i$: the agreement *replaces* the logit. The paper's Algorithm 1
# and Sabour et al. *add* the agreement, as does our loop. The printed version is:


# %%
def routing_as_printed(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        u = squash((w[:, :, None] * votes).sum(1))
        b = (u[:, None, :] * votes).sum(2)  # Eq. 4 as printed
    return u, w


# %% [markdown]
# **Predict** the iteration in which the weights of this version first differ from our loop's.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
at = (1, 2, 3, 5, 10, 30)
rows = {"added": dynamic_routing, "replaced": routing_as_printed}
sharpness = {
    name: [float(route(votes, t)[1].amax(0).mean()) for t in at] for name, route in rows.items()
}
show_table(
    ["iteration", *at],
    [[f"largest weight of a film, mean: {name}", *(f"{x:.3f}" for x in row)] for name, row in sharpness.items()],
)  # fmt: skip

# %% [markdown]
# The weights first differ in iteration 3, where our loop sums two agreements and the printed version uses only the
# last. Because $\|u_j\| < 1$, the last agreement stays below the norm of the vote, which limits how sharp the weights
# become: the mean in the table stays at 0.623. Accumulated logits have no such bound.
#
# ## 6. Along which axis does the softmax run?
#
# **Paper**: the softmax runs over the interests, so that each behavior is divided among them. Algorithm 1 takes the
# softmax for each behavior $i$, and the sum of Eq. 6 runs over the second index, the interest. However, the sum's
# upper bound is printed as $m$, the number of low-level capsules, instead of $n$ (here $K$).
#
# In code, the two versions differ by one character. Several public implementations take the softmax over the behaviors
# ([appendix B](appendix/B_routing.ipynb)), so each $z_j$ is a weighted average of votes:


# %%
def routing_over_behaviors(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(1)  # the trap
        u = squash((w[:, :, None] * votes).sum(1))
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% [markdown]
# **Predict** the sum of each row of `w`, of each column, and of all 33 weights, for both softmax axes.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
both = {
    "softmax over the interests": dynamic_routing(votes, 3)[1].numpy(),
    "softmax over the behaviors": routing_over_behaviors(votes, 3)[1].numpy(),
}
_ = save_figure(figures.sums_of_weights(both, titles, interests), "01_axis.svg")

# %% [markdown]
# **Figure 1.6.** The sums (Σ, iteration 3) reveal the softmax axis: with a softmax over the interests, the weights of
# each film sum to 1; with one over the behaviors, those of each interest do.
#
# The axis matters because **only the softmax over the interests makes the interests compete**. A softmax over the
# behaviors normalizes each interest's weights separately, so no interest influences another. To test this, we replace
# the votes for interest 2 with those for interest 1, and measure the change in the weights of interest 1:

# %%
changed = votes.clone()
changed[1] = votes[0]
for route in (dynamic_routing, routing_over_behaviors):
    moved = (route(changed, 3)[1] - route(votes, 3)[1])[0].abs().max()
    print(f"{route.__name__}: the weights of interest 1 change by up to {moved:.3f}")

# %% [markdown]
# Without competition, interests may favor the same films, and other films may get almost no weight. In the lower
# half of Figure 1.6, *Saving Private Ryan* has the largest weight for both film noir and war, and the weights of
# *Watership Down* sum to 0.00.
#
# ## Summary
#
# - An iteration consists of a softmax over the interests, a weighted sum, squash, and an update that **adds** the
#   agreement to the logits.
# - For planted votes of norm about 2, the directions of the capsules settle within three iterations in nearly all
#   examples, while the weights can become sharper with every iteration.
# - The softmax over the interests makes them compete; each column of the weight matrix sums to 1.
# - Different matrices $S_{ij}$ make the interests differ. MIND shares one matrix, which requires different initial
#   logits (notebook 02).

# %% jupyter={"source_hidden": true} tags=["hide-input"]
seconds = time.perf_counter() - started
path = write_metrics(
    "01_dynamic_routing",
    {
        "settled": shares,
        "logit_gap": {t: float(gap[t - 1].mean()) for t in (1, 2, 3, 5, 10, 20)},
        "largest_weight": sharpness,
        "seconds": seconds,
    },
)
print(f"finished in {seconds:.0f} seconds; the metrics are in {path.name}")
