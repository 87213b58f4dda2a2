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
# After this notebook you can write dynamic routing in ten lines of PyTorch, compute its iterations with a pencil, and
# recognize two mistakes that raise no error: a softmax over the wrong axis, and logits that are replaced instead of
# accumulated. Reading takes about 25 minutes. You need PyTorch, but no knowledge of capsules.
#
# MIND ([Li et al., CIKM 2019](https://arxiv.org/abs/1904.08030)) represents a user by several interest vectors. The
# layer that extracts them, highlighted in Figure 1.1, is a variant of dynamic routing between capsules ([Sabour, Frosst
# and Hinton, 2017](https://arxiv.org/abs/1710.09829)), which the MIND paper summarizes in §3.3.1. This notebook
# explains the original; notebook 02 adds MIND's changes. Section and equation numbers are those of the MIND paper.
# Claims are marked **Paper**, **Measured here** (95 % intervals in parentheses) or **Open**. Hidden cells check our
# code against mindlib, the library of these notebooks.

# %% tags=["parameters"]
draws: int = 400  # random examples behind the measured shares of section 5
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
# **Figure 1.1.** Routing (B2I: behavior to interest) is the layer between the embeddings of a user's behaviors and the
# user's interest capsules $u_j$. Notebook 00 explains the other symbols, notebook 02 Eqs. 8 and 9 and $K'_u$.
#
# ## 1. A capsule is a vector whose norm is a confidence
#
# A neuron returns a number, a **capsule** a vector. The norm of a squashed capsule is the confidence, below 1, that
# something is present, and its direction describes that thing. The capsules that MIND's routing layer returns are
# interests, and their directions tell which items they are about.
#
# A capsule is computed from a weighted sum $z$, which can have any norm $s$. Eq. 7 keeps its direction and changes its
# norm to $s^2 / (1 + s^2)$; for example, norm 5 becomes 25/26:
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
    print("squash equals mindlib's squash on 1,000 random vectors, of which one is zero")


check_squash()
norms = (0.1, 0.5, 1.0, 3.0, 10.0)
outputs = [float(squash(torch.tensor([norm, 0.0])).norm()) for norm in norms]
show_table(["norm of $z$", *norms], [["norm of squash($z$)", *(f"{x:.4f}" for x in outputs)]])

# %% [markdown]
# Squash is quadratic for short vectors and saturates for long ones, so a weak sum nearly vanishes, and every capsule
# has a norm below 1.
#
# ## 2. Routing with a pencil
#
# Routing computes $K$ **high-level capsules** $u_j$ from $L$ **low-level capsules** $c_i$. In an image, a low-level
# capsule may describe a nose and a high-level capsule a face. In MIND a low-level capsule is a **behavior**, such as a
# film that the user watched, and a high-level capsule is an **interest**. The sources use different letters:
#
# | | here | paper, §3.3.1 | Figure 1.1 |
# |---|---|---|---|
# | low-level | $c_i$, $i \le L$ | $c_i^l$, $i \le m$ | $e_i$, $i \le n$ |
# | high-level | $u_j$, $j \le K$ | $c_j^h$, $j \le n$ | $u_j$, $j \le K'_u$ |
#
# Each low-level capsule predicts each high-level capsule. The prediction $S_{ij}\,c_i$, with a trained matrix $S_{ij}$
# for each pair, is called a **vote**. Routing itself has no parameters; it computes everything anew from its only
# input, the votes.
#
# A nose and a mouth that predict the same face are probably parts of it; if their predictions differ, they probably
# belong to different faces. Routing applies this principle: **a low-level capsule is assigned to the high-level capsule
# for which its vote agrees best with the votes of the other low-level capsules.**
#
# Our example has three low-level and two high-level capsules in the plane. In all tensors of these notebooks, the
# interest $j$ precedes the behavior $i$, so `b[j, i]` is the paper's $b_{ij}$:

# %%
pencil = torch.tensor(
    [
        [[2.0, 1.0], [2.0, -1.0], [-2.0, 0.0]],  # votes for high-level capsule 1
        [[1.0, 2.0], [-1.0, -2.0], [0.0, 2.0]],  # votes for high-level capsule 2
    ]
)  # (K, L, d) = (2 interests, 3 behaviors, 2 dimensions)

# %% [markdown]
# **Predict** which high-level capsule each low-level capsule will be assigned to.
#
# For high-level capsule 1, the votes of low-level capsules 1 and 2 point to the right and that of 3 to the left. For
# high-level capsule 2, the votes of 1 and 3 point upwards and that of 2 downwards. So low-level capsule 2 should go to
# high-level capsule 1, and low-level capsule 3 to high-level capsule 2. Low-level capsule 1 agrees with both
# majorities.
#
# Routing keeps a **logit** $b_{ij}$ for each pair, which starts at 0, and repeats four steps:
#
# $$w_{ij} = \frac{\exp b_{ij}}{\sum_{k=1}^{K} \exp b_{ik}} \tag{6}$$
#
# $$z_j = \sum_{i=1}^{L} w_{ij}\,S_{ij}\,c_i \tag{5}$$
#
# $$u_j = \operatorname{squash}(z_j) \tag{7}$$
#
# $$b_{ij} \leftarrow b_{ij} + u_j^\top S_{ij}\,c_i \tag{4}$$
#
# The **weight** (coupling coefficient) $w_{ij}$ is the share of low-level capsule $i$ that goes to high-level capsule
# $j$. The inner product $u_j^\top S_{ij}\,c_i$ is the **agreement** of vote and capsule. We correct misprints in Eqs. 4
# and 6 (sections 5 and 6).

# %% jupyter={"source_hidden": true} tags=["hide-input"]
_ = save_figure(figures.loop(), "01_loop.svg")

# %% [markdown]
# **Figure 1.2.** One iteration turns logits into weights, weights into capsules, and capsules into new logits. The
# votes never change. The thick box is the start.
#
# **Iteration 1.** All logits are 0, so all weights are 1/2, and $z_1$ is half of $(2, 1) + (2, -1) + (-2, 0)$, that is,
# $(1, 0)$. Squash maps its norm from 1 to 1/2, so $u_1 = (\frac12, 0)$. Its agreements with the three votes are
# $\frac12 \cdot 2 = 1$, $1$ and $-1$. In the same way $z_2 = (0, 1)$ and $u_2 = (0, \frac12)$, with agreements $1$,
# $-1$ and $1$.
#
# **Iteration 2.** Low-level capsule 2 has the logits $(1, -1)$, so its weight for high-level capsule 1 is
# $e / (e + e^{-1}) = 0.881$. For low-level capsule 3 the weights are reversed. Low-level capsule 1 has the logits
# $(1, 1)$ and remains split evenly. The sum $z_1$ now contains little of the opposing vote $(-2, 0)$, so it is longer,
# and it turns downwards, towards $(2, -1)$, the vote with the largest weight: $u_1 = (0.8572, -0.1294)$. Routing
# reinforces itself: a larger weight draws the capsule towards the vote, which raises their agreement. The sum $z_2$
# contains little of $(-1, -2)$, which canceled $(1, 2)$, so it turns to the right: $u_2 = (0.1294, 0.8572)$.
#
# **Iteration 3.** These turns break the tie of low-level capsule 1. The second components of its vote $(2, 1)$ and of
# $u_1$ have opposite signs, so their agreement is $2 \cdot 0.8572 - 0.1294 = 1.585$. All components of its vote
# $(1, 2)$ and of $u_2$ are positive, so their agreement is $0.1294 + 2 \cdot 0.8572 = 1.844$. Added to 1, these give
# the logits 2.585 and 2.844, so low-level capsule 1 prefers high-level capsule 2, with weight 0.564. The other
# low-level capsules caused this indirectly, by turning the high-level capsules.
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
# **Figure 1.3.** The vote against each high-level capsule fades within three iterations, so the capsule becomes longer.
# A vote's width and the number at its tip show its weight; the gray pin is the high-level capsule.
#
# The last update of `b` is never used: $r = 3$ iterations contain only two updates that affect the output, and $r = 1$
# returns the squashed sums with weights $1/K$, without any routing.
#
# **Try**: remove `squash` (write `u = z`), and rerun this cell and the figure's cell below. The norms of the capsules
# are then unbounded, so the agreements are larger and the weights sharpen faster. Then restore the line.
#
# ### Exercise 1: a batch of users
#
# Write the loop for votes of shape `(B, K, L, d)`, one entry for each of `B` users, and return the capsules
# `(B, K, d)`. For each sum, note which axis it removes: every axis number changes.


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
# The same loop sorts films of the example user of all notebooks, whose history in
# [MovieLens-1M](https://grouplens.org/datasets/movielens/1m/) mixes film noir, animation and war. We take up to four
# films of each genre, and *Who Framed Roger Rabbit?*, which is both animation and film noir. In the plane of the two
# leading singular vectors of the user–film matrix (with normalized columns), films with a common audience point the
# same way.
#
# In Sabour's network the matrices are trained. Here we set them by hand, one for each interest: $S_j$ triples the
# component of a vector along the direction of one film. This film is *L.A. Confidential* for interest 1 (film noir),
# *A Close Shave* for interest 2 (animation), and *Saving Private Ryan* for interest 3 (war). A film therefore votes
# strongly for an interest if its audience resembles that of the interest's film.

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
# **Predict**: in iteration 1 all weights are 1/3. Do the three capsules point the same way? And which interest takes
# *Who Framed Roger Rabbit?*

# %% jupyter={"source_hidden": true} tags=["hide-input"]
titles = [textwrap.shorten(log.titles[film], 30, placeholder=" …") for film in films]
interests = ["film noir", "animation", "war"]
seen = follow(dynamic_routing, votes, 8)
_ = save_figure(figures.iterations(seen, titles, interests, (1, 2, 3, 8)), "01_rounds.svg")

# %% [markdown]
# **Figure 1.4.** By iteration 3, every film has its final interest (frame: its largest weight), and by iteration 2 all
# but *Schindler's List* (dashed). Later iterations only sharpen the weights.
#
# The capsules differ from the first iteration on, because their matrices do. *A Close Shave* and *The Wrong Trousers*
# have an audience that differs from those of the other films and go to animation in iteration 2. *Schindler's List* is
# still divided in iteration 3, between film noir (0.48) and war (0.52). *Who Framed Roger Rabbit?* gives 0.71 to film
# noir and 0.04 to animation: its audience resembles that of the other films noirs, among which it lies in Figure 1.5.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
frames(
    lambda iteration: figures.one_iteration(seen, e, titles, interests, iteration),
    "Numbered films and capsules in the plane, and the weights of each film, in one iteration",
    {"iteration": 3},
    iteration=range(1, 9),
)

# %% [markdown]
# **Figure 1.5.** By iteration 3, each film gives its largest weight (its color; gray: undecided) to the capsule nearest
# in direction, in whose sector it lies. The points are the films' $c_i$, not their votes.
#
# Routing resembles soft K-means: votes are the points, capsules the centers, weights the assignments, and Eqs. 5 and 7
# the update. However, a behavior is a different point for each center, and logits accumulate.
#
# ### Exercise 2: hard assignment (an experiment)
#
# **Predict** what happens to the eleven films if routing assigns every film entirely to one interest, that of its
# largest logit. Then write `hard_routing(votes, r)` that returns the capsules, and explain their norms. (`F.one_hot`
# and `argmax` are enough.)


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
    "All logits are equal in iteration 1, and argmax then returns the first interest, so it takes every\n"
    "film. The other sums are 0, and so is every agreement with them. A film leaves the first interest\n"
    "only if its vote opposes that capsule (negative agreement), and here none does. Soft weights give\n"
    "every interest a share in iteration 1, and with it an agreement."
)

# %% [markdown]
# ## 5. Iterations sharpen the weights
#
# The number of iterations $r$ acts like an inverse temperature: each iteration adds another agreement to the logits.
# Unless the capsules are equal, the differences of the logits usually keep growing, so the weights approach 0 or 1.
#
# We measure this on planted votes of three groups of four low-level capsules. The members of group $j$ agree in their
# votes for high-level capsule $j$ (dimension 8, norm 2, noise of 0.3 times the norm); all other votes are random.
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
        ["largest difference of two logits, mean", *(str(mean_estimate(gap[t - 1])) for t in at)],
    ],
)  # fmt: skip

# %% [markdown]
# Capsules are *settled* when each has a cosine above 0.95 with its value at iteration 60, and weights when each is
# within 0.05 of its value there.
#
# **Measured here**: the directions of the capsules settle first, in nearly all examples by iteration 3. The weights of
# most examples need more than five iterations, and the logits keep growing. Convergence is therefore judged by
# directions or weights, not by logits.
#
# **Paper**: three iterations are usual. **Open**: the paper neither reports nor varies the number in its experiments.
#
# With short votes, three iterations leave the weights near $1/K$. Where squash is quadratic, votes that are 10 times
# shorter give capsules that are about 100 times shorter and agreements that are about 1,000 times smaller. Long votes
# lose less, because squash saturates:

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
# Eq. 4 is printed as $b_{ij} = u_j^\top S_{ij}\,c_i$: the agreement *replaces* the logit. The paper's Algorithm 1,
# Sabour et al. and we *add* the agreement. Here is the printed version:


# %%
def routing_as_printed(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(0)
        u = squash((w[:, :, None] * votes).sum(1))
        b = (u[:, None, :] * votes).sum(2)  # Eq. 4 as printed
    return u, w


# %% [markdown]
# **Predict** in which iteration its weights first differ from those of the loop.

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
# Weights first differ in iteration 3, where the loop sums two agreements; the printed version uses only the last. A
# replaced logit stays below the norm of the vote, because $\|u_j\| < 1$, which limits how sharp the weights become. The
# differences of added logits usually keep growing, so the weights of a film approach a one-hot vector.
#
# Routing with added logits cannot oscillate, because each iteration that changes the weights raises a bounded objective
# ([appendix B](appendix/B_routing.ipynb)).
#
# ## 6. Along which axis does the softmax run?
#
# The softmax can run over the interests, so that each film is divided among them, or over the behaviors, so that each
# interest averages films.
#
# **Paper**: Algorithm 1 takes the softmax for each behavior $i$, and in Eq. 6 the index $k$ of the sum replaces the
# interest $j$: both mean *over the interests*. However, the sum's upper bound is printed as $m$, the number of
# behaviors; we wrote $K$. In code the axes differ by one character, and several public implementations use the other
# one ([appendix B](appendix/B_routing.ipynb)):


# %%
def routing_over_behaviors(votes, r):
    b = torch.zeros(votes.shape[:2])
    for _ in range(r):
        w = b.softmax(1)  # the trap
        u = squash((w[:, :, None] * votes).sum(1))
        b = b + (u[:, None, :] * votes).sum(2)
    return u, w


# %% [markdown]
# **Predict** the sum of each row, of each column, and of all 33 weights, for both axes.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
both = {
    "softmax over the interests": dynamic_routing(votes, 3)[1].numpy(),
    "softmax over the behaviors": routing_over_behaviors(votes, 3)[1].numpy(),
}
_ = save_figure(figures.sums_of_weights(both, titles, interests), "01_axis.svg")

# %% [markdown]
# **Figure 1.6.** The sums (Σ, iteration 3) reveal the axis. Over the interests, each film's weights sum to 1 (11 in
# all); over the behaviors, each interest's do (3 in all).
#
# The axis matters because **only the softmax over the interests makes the interests compete**. Over the behaviors, rows
# are normalized separately, so no interest influences another. To test this, we copy interest 1's votes to interest 2,
# which must then share what interest 1 had:

# %%
changed = votes.clone()
changed[1] = votes[0]
for route in (dynamic_routing, routing_over_behaviors):
    moved = (route(changed, 3)[1] - route(votes, 3)[1])[0].abs().max()
    print(f"{route.__name__}: the weights of interest 1 change by up to {moved:.3f}")

# %% [markdown]
# Without competition, two interests may favor the same films, and some films get no weight. In the lower half of Figure
# 1.6, film noir and war both give their largest weight to *Saving Private Ryan*, and *Watership Down* gets 0.00.
#
# ## 7. With one shared matrix, zero logits fail
#
# **Paper**: MIND shares one matrix $S$ among all pairs, because histories have different lengths and all interests
# should lie in one space. With zero initial logits, the interests are then equal:

# %%
shared = e.expand(3, -1, -1)  # S is the identity for every pair
u, w = dynamic_routing(shared, 3)
print("capsules", u, "weights of the first film", w[:, 0], sep="\n")

# %% [markdown]
# All interests receive the same votes with the same weights, so they are equal in iteration 1, receive equal updates
# and never separate. Notebook 02 proves this; its random initial logits break the tie.
#
# ## Summary
#
# - An iteration takes a softmax over the interests, a weighted sum and squash, and **adds** the agreement to the
#   logits.
# - For planted votes of norm 2, the directions of the capsules settle within three iterations; the weights usually
#   become sharper with every iteration.
# - The softmax over the interests makes them compete. Each column of the weight matrix then sums to 1.
# - Different matrices $S_{ij}$ make the interests differ; with a shared matrix and equal logits they stay equal.

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
print(f"{seconds:.0f} seconds; the metrics are in {path.name}")
