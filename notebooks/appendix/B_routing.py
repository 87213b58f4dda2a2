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
# # Appendix B · Routing: objective, convergence, two readings, known bugs
#
# This appendix answers four questions that the paper leaves open, for readers of notebooks 01 and 02: what routing
# maximizes, whether three iterations are enough, how much the axis of the softmax matters, and which variants of
# routing public code contains. Reading takes about 15 minutes. All data are planted, so that the right answer is known.

# %% tags=["parameters"]
draws: int = 400  # planted users behind each measured share
seed: int = 0  # of these users

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import time

from mindlib.lessons.common.report import Number, check_parameters, save_figure, write_metrics

check_parameters(
    globals(), {"draws": Number(100, 5000, whole=True), "seed": Number(0, 2**31, whole=True)}
)
started = time.perf_counter()

import torch
from matplotlib import pyplot as plt
from torch.nn.functional import normalize

from mindlib.evaluation import share_estimate
from mindlib.layers.routing import squash
from mindlib.lessons.common.page import show_table
from mindlib.lessons.common.style import COLORS, use_style

use_style()
torch.set_default_dtype(torch.float64)

# %% [markdown]
# The loop of notebook 01, for a batch, with every iteration kept and three switches: the axis of the softmax, whether
# the agreement is added to the logits, and which positions are real:


# %%
def route(votes, b, r, axis=1, add=True, mask=None):
    """Return the weights (r, B, K, L) and capsules (r, B, K, d) of all iterations.

    Args:
        votes: (B, K, L, d).
        b: initial logits (B, K, L).
        axis: 1 for a softmax over the interests, 2 over the behaviors.
        mask: (L,), False at padding, whose weights are set to 0 after the softmax.
    """
    weights, capsules = [], []
    for _ in range(r):
        w = b.softmax(axis) if mask is None else b.softmax(axis) * mask
        u = squash((w[..., None] * votes).sum(2))
        agreement = (u[:, :, None] * votes).sum(3)
        b = b + agreement if add else agreement
        weights.append(w)
        capsules.append(u)
    return torch.stack(weights), torch.stack(capsules)


def planted(norm, shared, groups=3, members=4, d=8, noise=0.3):
    """Votes (draws, K, L, d) of groups that agree, and the centers of the groups.

    With `shared`, a behavior has the same vote for every interest, as with MIND's single matrix S.
    Otherwise group j agrees in its votes for interest j only, as with a matrix for every pair.
    """
    g = torch.Generator().manual_seed(seed)
    L = groups * members
    centers = normalize(torch.randn(draws, groups, d, generator=g), dim=2)
    own = centers.repeat_interleave(members, 1) + noise / d**0.5 * torch.randn(
        draws, L, d, generator=g
    )
    if shared:
        return norm * own[:, None].expand(-1, groups, -1, -1), norm * centers
    votes = normalize(torch.randn(draws, groups, L, d, generator=g), dim=3)
    group = torch.arange(L) // members
    votes[:, group, torch.arange(L)] = own
    return norm * votes, norm * centers


# %% [markdown]
# ## B.1 With added logits, no iteration lowers the objective
#
# Routing resembles K-means, which lowers an objective in every step. Routing has an objective, too:
#
# $$J(w, u) = \sum_{i,j} w_{ij}\,u_j^\top S_{ij}\,c_i - \sum_j \operatorname{cost}(\|u_j\|),
# \qquad \operatorname{cost}(\ell) = \arcsin\sqrt{\ell} - \sqrt{\ell (1 - \ell)} .$$
#
# **Squash is the best capsule for given weights.** The best direction of $u_j$ is that of $z_j$, and the best norm
# $\ell$ solves $\operatorname{cost}'(\ell) = \sqrt{\ell / (1 - \ell)} = \|z_j\|$, which gives
# $\ell = \|z_j\|^2 / (1 + \|z_j\|^2)$. With these capsules only the weights remain:
#
# $$G(w) = \max_u J(w, u) = \sum_j \big(\|z_j\| - \arctan \|z_j\|\big), \qquad
# \frac{\partial G}{\partial w_{ij}} = u_j^\top S_{ij}\,c_i .$$
#
# **The agreement is therefore the gradient of $G$.** An iteration with *added* logits moves the weights to
# $w'_{ij} \propto w_{ij} \exp(u_j^\top S_{ij}\,c_i)$, which maximizes the linearized $G$ minus
# $\sum_i \mathrm{KL}(w'_i \,\|\, w_i)$. Because $G$ is convex in $w$, it lies above its linearization, so each iteration
# raises $G$ by at least $\sum_i \mathrm{KL}(w'_i \,\|\, w_i) \ge 0$. $G$ is bounded, so the steps go to 0: routing
# cannot oscillate. An iteration with *replaced* logits maximizes the linearized $G$ plus the entropy of the weights
# instead, so it never lowers $F(w) = G(w) + \sum_i H(w_i)$.


# %%
def G(w, votes):
    norm = (w[..., None] * votes).sum(-2).norm(dim=-1)
    return (norm - norm.atan()).sum(-1)


votes, _ = planted(2.0, shared=False)
zeros = votes.new_zeros(votes.shape[:3])
objectives = {}
for name, add in (("added", True), ("replaced", False)):
    w, _ = route(votes, zeros, 40, add=add)
    entropy = torch.special.entr(w).sum((2, 3))
    objectives[name] = {"G": G(w, votes), "F": G(w, votes) + entropy}

# %% jupyter={"source_hidden": true} tags=["hide-input"]
x = torch.randn(draws, 3, 12).softmax(1).requires_grad_()
(gradient,) = torch.autograd.grad(G(x, votes).sum(), x)
u = squash((x[..., None] * votes).sum(2))
torch.testing.assert_close(gradient, (u[:, :, None] * votes).sum(3))
falls = {
    (name, which): share_estimate((value.diff(dim=0) < -1e-9).any(0))
    for name, row in objectives.items() for which, value in row.items()
}  # fmt: skip
show_table(
    ["share of users for whom it falls in some iteration", "G", "F"],
    [[f"logits {name}", falls[name, "G"].percent(), falls[name, "F"].percent()] for name in objectives],
)  # fmt: skip
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for axis, which in zip(axes, ("G", "F"), strict=True):
    for color, (name, row) in zip(COLORS, objectives.items(), strict=False):
        line = row[which][:12].median(1).values
        axis.plot(range(1, 13), line, color=color)
        axis.annotate(name, (12, float(line[-1])), color=color, ha="right", va="bottom")
    axis.set(xlabel="iteration", ylabel=f"{which}, median of the users")
_ = save_figure(figure, "B_objectives.svg")

# %% [markdown]
# **Figure B.1.** Added logits raise the objective $G$ and give up entropy for it; replaced logits stop at a
# compromise. (The vertical axes do not start at 0.)
#
# The objective explains squash, the agreement, and why weights harden: nothing in $G$ rewards an even distribution.
# It does not explain three iterations, which stop the ascent early. The limit depends on the initialization and need
# not be a maximum: with a shared matrix, equal logits stay equal. The proof does not cover *MIND (ours)*, whose
# agreement is a cosine and whose capsules are means.
#
# ## B.2 Capsules settle before weights, and short votes settle slowly
#
# We compare every iteration with iteration 150. A user's *weights* are settled if each is within 0.05 of its value
# there, and the *capsules* if each has a cosine above 0.95.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
convergence = {}
for norm in (0.25, 0.5, 2.0, 8.0):
    votes, centers = planted(norm, shared=False)
    w, u = route(votes, zeros, 150)
    near = (torch.cosine_similarity(u, u[-1:], dim=3) > 0.95).all(2)
    still = (w - w[-1]).abs().amax((2, 3)) < 0.05
    convergence[norm] = {
        "capsules settled in iteration 3": share_estimate(near[2]).percent(),
        "weights settled in iteration 3": share_estimate(still[2]).percent(),
        "weights settled in iteration 20": share_estimate(still[19]).percent(),
        "a weight still moves by 0.001 in iteration 150": share_estimate(
            (w[-1] - w[-2]).abs().amax((1, 2)) > 1e-3
        ).percent(),
        "cosine with the planted center, iteration 1": f"{torch.cosine_similarity(u[0], centers, dim=2).mean():.2f}",
        "cosine with the planted center, iteration 3": f"{torch.cosine_similarity(u[2], centers, dim=2).mean():.2f}",
    }
show_table(
    ["norm of the votes", *convergence],
    [[name, *(row[name] for row in convergence.values())] for name in convergence[2.0]],
)

# %% [markdown]
# **Measured here**: with votes of norm 2 or more, three iterations bring the capsules near their end; the weights take
# longer. With votes of norm 0.25, three iterations change almost nothing, and most users are not at rest after 150: the
# logits change by about the cube of a small norm (squash contributes the square). A stopping rule such as "no weight
# moves by 0.05" would therefore stop short votes at once, far from the end.
#
# ## B.3 With a softmax over the behaviors, interests often recover the same group
#
# Notebook 01 shows that the interests compete only if the softmax runs over them. With MIND's shared votes, nothing
# else keeps the interests apart. We draw Gaussian initial logits and call a user's groups *recovered* if the three
# interests point to three different groups.
#
# With a softmax over the behaviors the interests are independent of each other: each ends at group $g$ with the same
# probability $p_g$. All three groups are recovered with probability $6\,p_1 p_2 p_3 \le 6/27 = 22\,\%$, whatever the
# number of iterations.


# %%
def recovered(u, centers):
    """Whether the interests (..., B, K, d) point to different groups; the cosine decides."""
    taken = (normalize(u, dim=-1) @ normalize(centers, dim=-1).mT).argmax(-1)
    return taken.sort(-1).values.diff(dim=-1).ne(0).all(-1)


votes, centers = planted(2.0, shared=True)
start = torch.randn(draws, 3, 12, generator=torch.Generator().manual_seed(seed + 1))
shares = {}
for name, axis in (("over the interests", 1), ("over the behaviors", 2)):
    found = recovered(route(votes, start, 40, axis=axis)[1], centers)
    shares[name] = {t: share_estimate(found[t - 1]) for t in (1, 3, 10, 40)}

# %% jupyter={"source_hidden": true} tags=["hide-input"]
show_table(
    ["all three groups recovered, by iteration", 1, 3, 10, 40],
    [[f"softmax {name}", *(x.percent() for x in row.values())] for name, row in shares.items()],
)

# %% [markdown]
# **Measured here**: over the interests, recovery grows well beyond three iterations, because the interests repel each
# other. Over the behaviors it stays at or below the bound. The votes are random, not trained; training changes the
# numbers, but not the bound.
#
# **Padding.** Over the behaviors, padding counts in the denominator of every interest. If its weight is set to 0 only
# after the softmax, as in much public code, the remaining weights no longer sum to 1:

# %% jupyter={"source_hidden": true} tags=["hide-input"]
kept = {}
for positions in (12, 20, 50):
    padded = torch.nn.functional.pad(votes, (0, 0, 0, positions - 12))
    noise = torch.randn(draws, 3, positions, generator=torch.Generator().manual_seed(seed + 2))
    real = torch.arange(positions) < 12
    w, u = route(padded, noise, 3, axis=2, mask=real)
    kept[positions] = (float(w[-1].sum(2).mean()), float(u[-1].norm(dim=2).mean()))
show_table(
    ["positions, of which 12 are real", *kept],
    [
        ["sum of an interest's weights", *(f"{x:.2f}" for x, _ in kept.values())],
        ["norm of a capsule", *(f"{x:.2f}" for _, x in kept.values())],
    ],
)

# %% [markdown]
# A user's interests then depend on the length of the batch's window. Masking before the softmax repairs this, but not
# the missing competition.
#
# ## B.4 Variants in public code
#
# None of these variants raises an error. We read the repositories at the commits named.
#
# | repository | deviation from Algorithm 1 | consequence |
# |---|---|---|
# | THUDM/ComiRec `a576eed` | logits redrawn in evaluation, too | the same user gets different interests in every call |
# | ShiningCosmos/pytorch_ComiRec `ad44d06`, Tokkiu/REMI `ad5af06`, datawhalechina/torch-rechub `5a73b2e` | softmax over the positions, padding masked after it | no competition; short histories get short interests |
# | shenweichen/DeepMatch before June 2022, datawhalechina/fun-rec `13509d6` | one logit matrix for all users, to which the sum over the batch is added and which is kept | interests depend on the users before and in the batch |
# | PaddlePaddle/PaddleRec `656326a` | softmax over positions, in the last iteration over interests; noise fixed by position | the axes are mixed; the order of a set of items matters |
# | alibaba/EasyRec `bd230cb` | $K'_u$ from the natural logarithm; logits replaced by 20 times the cosine | 149 instead of 32 behaviors for five interests |
# | alibaba/TorchEasyRec `54cac31` | an option for zero logits | all interests are equal |
#
# Some are deliberate choices (EasyRec's factor of 20 resembles our inverse temperature). Most of the variants are
# found by **properties** that need no reference value: padding, the other users of the batch, the order of the
# history and a repeated call must not change the interests of a user, and the interests must differ from each other.
# mindlib's tests check all five.
#
# **Summary.** Routing with added logits is an ascent on a convex agreement, stopped early. For long votes that differ
# by interest, three iterations settle the capsules but not the weights; with shared votes, more iterations recover
# more groups. The softmax over the interests is what makes several interests different.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
seconds = time.perf_counter() - started
path = write_metrics(
    "B_routing",
    {"falls": {f"{a} {b}": x for (a, b), x in falls.items()}, "recovered": shares, "padding": kept, "seconds": seconds},
)  # fmt: skip
print(f"{seconds:.0f} seconds; the metrics are in {path.name}")
