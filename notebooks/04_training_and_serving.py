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
# # 04 · Training and serving
#
# > **You will learn** how MIND, the multi-interest network with dynamic routing
# > ([Li et al., 2019](https://arxiv.org/abs/1904.08030)), is trained on a catalogue that no softmax can sum
# > over (§3.5): the sampled softmax, its correction, and what happens without it. How Adam touches a few rows of a large table. How
# > a training survives its own death, and how two processes train one model. And how $K$ vectors become one
# > list, in milliseconds, with the very numbers that evaluation had.
# >
# > **You need** PyTorch, and the idea of notebook 02: a user is up to $K$ vectors, her *interests*.
# >
# > **It takes** less than two minutes on two cores (the last cell says how long this run took).
# >
# > **The data** are planted worlds: users whose interests we put there ourselves. They are generated here,
# > in a moment, without a network.

# %% tags=["parameters"]
seeds: int = 3  # how often each way to draw negatives is trained
epochs: int = 5  # passes over the training pairs there
users: int = 800  # users of that world
draws: int = 200  # repetitions when a bias is measured

# %%
import tempfile
import time
from pathlib import Path

from mindlib.lessons.common.report import Number, check_parameters, save_figure, write_metrics

check_parameters(
    globals(),
    {
        "seeds": Number(1, 20, whole=True),
        "epochs": Number(1, 100, whole=True),
        "users": Number(200, 20_000, whole=True),
        "draws": Number(20, 10_000, whole=True),
    },
)
# The text speaks of these settings. Asserts that begin with `not usual` hold it to them.
usual = (seeds, epochs, users, draws) == (3, 5, 800, 200)
started = time.perf_counter()

# %%
import ipywidgets
import numpy as np
import torch
from IPython.display import Markdown, display
from matplotlib import rcParams

from mindlib.data import Histories
from mindlib.evaluation import mean_estimate
from mindlib.lessons.common import records
from mindlib.lessons.common.architecture import show_architecture
from mindlib.lessons.common.page import show_source, show_table, spread
from mindlib.lessons.common.style import use_style
from mindlib.lessons.common.widgets import explore
from mindlib.lessons.n04_training import figures as plots
from mindlib.lessons.n04_training import (
    interrupted,
    sampled,
    sampled_trials,
    serving_trials,
    together,
)
from mindlib.lessons.n04_training import serving_figures as serving_plots
from mindlib.lessons.n04_training.click_map import click_map
from mindlib.lessons.n04_training.exercises import MERGE_LISTS, SAMPLED_LOSS
from mindlib.lessons.n04_training.scale import Scale
from mindlib.lessons.n04_training.steps import paths, same, step_cost
from mindlib.online.export import export
from mindlib.online.exported import ExportedModel, measure_skew
from mindlib.retrieval import catalogue, merge, score_by_best_interest, search
from mindlib.training.sampled_softmax import NegativeSampler, sampled_softmax_loss

use_style()
rcParams["figure.dpi"] = 85  # the pictures on this page; the saved ones are vector graphics

# %% [markdown]
# The coloured blocks are the subject of this notebook: the loss that MIND is trained with, and the search that
# retrieves items for a user. Notebook 00 explains the whole figure.

# %%
show_architecture("softmax", "index", "merge")

# %% [markdown]
# ## 1. The sampled softmax
#
# ### Five items by hand
#
# A shop has five items. A user vector $\mathbf v_u$ and the item vectors $\mathbf e_i$ are in the plane, and
# a score, or *logit*, is an inner product. The softmax turns the five scores into probabilities. Her next item was number
# 2, the *target*: the loss is minus the logarithm of its probability.

# %%
v = torch.tensor([1.0, 0.5])
e = torch.tensor([[0.5, 0.0], [1.0, 1.0], [-1.0, 0.4], [0.2, -1.0], [1.5, -0.6]])
scores = e @ v
probabilities = scores.exp() / scores.exp().sum()
print("scores       ", [round(s, 2) for s in scores.tolist()])
print("probabilities", [round(p, 3) for p in probabilities.tolist()])
print(f"loss of item 2: {-probabilities[1].log():.3f}")
assert torch.isclose(
    -probabilities[1].log(),
    torch.nn.functional.cross_entropy(scores[None], torch.tensor([1])),
)

# %% [markdown]
# This is Eqs. 10 and 11 of the paper, for a user $u$ and her item $i$ out of the catalogue $\mathcal I$:
#
# $$ \Pr(i \mid u) = \frac{e^{\mathbf v_u^\top \mathbf e_i}}{\sum_{j \in \mathcal I} e^{\mathbf v_u^\top \mathbf e_j}},
#    \qquad L = -\log \Pr(i \mid u) $$
#
# Tmall has a billion items. With $10^8$ items and $d=64$ the sum costs $6.4 \cdot 10^9$ multiply-adds for
# **one** training pair, and its gradient touches every row of a table of 26 GB. So the sum is *estimated*.
#
# ### Estimating a sum by drawing
#
# Say we want $Z = \sum_j z_j$ and may look at one term only. Draw item $j$ with probability $q_j$ and take
# $z_j / q_j$. Rare draws count more, and on average it comes out right:
# $\sum_j q_j \cdot z_j/q_j = Z$. This is *importance sampling*, and $q$ is the *proposal*. With $n$ draws
# take the mean, so each drawn item counts $1/(n q_j)$ times. In a softmax a factor in front of $e^{s}$ is a
# term inside it:
#
# $$ \frac{1}{n q_j}\, e^{s_j} = e^{\,s_j - \log (n q_j)} $$
#
# That is the **logQ correction**: subtract $\log(n q_j)$, the logarithm of how often $j$ is expected among
# the draws, from the logit of each negative. Not from the target's: it was not drawn. It stands in the sum
# for itself, and only the *rest* of the sum is estimated. A negative that happens to be the target is an
# **accidental hit**: it would count the target twice, and is taken out.

# %%
show_source(sampled_softmax_loss)

# %% [markdown]
# **Equality.** The function against the formula, written out. And if each item of the catalogue is "drawn"
# exactly as often as it is expected, once, the estimate *is* the full softmax.

# %%
target, everything = torch.tensor([1]), torch.arange(5)
drawn, q = torch.tensor([0, 4, 4, 1]), torch.tensor([0.1, 0.3, 0.2, 0.1, 0.3])
expected = (len(drawn) * q).log()[drawn]
ours = sampled_softmax_loss(v[None], e[target], e[drawn], target, drawn, expected)
kept = drawn != 1  # the last draw is an accidental hit
rest = (scores[drawn] - expected)[kept].exp().sum()
assert torch.isclose(ours, -(scores[1].exp() / (scores[1].exp() + rest)).log())
whole = sampled_softmax_loss(v[None], e[target], e, target, everything, torch.zeros(5))
assert torch.isclose(whole, -probabilities[1].log())

# %% [markdown]
# ### Is it right on average?
#
# Almost. The *sum* is right on average. The loss is its logarithm, and the logarithm of a noisy number is too
# small on average (it is a concave function). So the corrected loss is a little low, and the error goes
# away as $n$ grows. Without the correction it does not go away: more negatives only make the wrong sum more
# precise.
#
# We measure both on 1,000 items with Zipf's popularity (the item of rank $r$ has a share $\propto 1/r$) and 16
# users. Two proposals: **uniform**, and **popularity**, which draws an item in proportion to its count to
# the power 0.75. "Distance" is the length of (mean sampled gradient − full gradient), over the length of the full
# one. The grey band is what luck alone gives with this many draws; the bars are 95 % intervals.

# %%
small = sampled.problem()
numbers = (16, 64, 256, 1024, 4096)
found = {
    f"{proposal}{'' if logq else ', no logQ'}": [
        sampled.bias(small, sampled.sample(small, proposal, n, logq=logq, draws=draws))
        for n in numbers
    ]
    for proposal in ("uniform", "popularity")
    for logq in (True, False)
}
figure = plots.bias_by_number(numbers, found, [name for name in found if "no" in name])
_ = save_figure(figure, "04_bias.svg")
show_table(
    ["", *(f"n = {n}" for n in numbers)],
    [
        *(
            (f"loss − full: {name}", *(f"{b.loss.value:+.2f}" for b in row))
            for name, row in found.items()
        ),
        *(
            (f"gradient: {name}", *(f"{b.gradient:.2f}" for b in row))
            for name, row in found.items()
        ),
    ],
)
last = {name: row[-1] for name, row in found.items()}
for name in ("uniform", "popularity"):
    assert found[name][0].loss.high < 0, "a little low"
    assert not usual or (abs(last[name].loss.value) < 0.02 and last[name].gradient < 0.03)
    assert abs(last[f"{name}, no logQ"].loss.value) > 1, "more negatives do not mend it"
assert not usual or all(b.gradient > 0.7 for b in found["popularity, no logQ"])
assert abs(found["uniform, no logQ"][3].loss.value) < 0.1
assert abs(found["popularity"][0].loss.value) < abs(found["uniform"][0].loss.value)

# %% [markdown]
# - **With logQ** (solid) the loss of sampled negatives starts too low and meets the full one: at $n=4096$ both proposals are within
#   0.02 nats, and the gradient within 3 %. Popularity is nearer at small $n$: it draws the items that
#   have most of the sum.
# - **Without** (dashed) the loss drifts upwards with $\log n$ and passes the truth at *some* $n$, by
#   accident. For popularity the mean gradient is more than 70 % off at every $n$ shown.
# - **Uniform without logQ** is the mild case: all negatives lack the *same* constant, $\log(n/1000)$. At
#   $n=1024$ it is nearly 0, so there nothing is wrong; on both sides of it something is.
#
# The intervals are narrower than the dots; the sizes belong to this problem.
#
# ### What a model learns from the wrong loss
#
# Suppose a model can give each of five items any score, and targets come with shares 50, 20, 15, 10 and 5 %.
# With enough training pairs it minimises the expected loss. Which shares does its softmax then show? The
# next cell solves that with the sum over the drawn negatives replaced by its *mean* over draws, so that only the
# correction is judged and not the luck of few draws. The proposal is popularity itself.

# %%
truth = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
learnt = {
    "right": sampled.learnt(truth, truth, 4),
    "hits stay": sampled.learnt(truth, truth, 4, hits_stay=True),
    "no logQ": sampled.learnt(truth, truth, 4, logq=False),
    "no logQ, hits stay": sampled.learnt(truth, truth, 4, logq=False, hits_stay=True),
}
figure = plots.learnt_shares(truth, learnt, [f"item {i}" for i in range(1, 6)])
_ = save_figure(figure, "04_learnt.svg")
show_table(
    ["share learnt, %", *(f"item {i}" for i in range(1, 6))],
    [(name, *(f"{100 * s:.0f}" for s in shares)) for name, shares in learnt.items()],
)
assert np.allclose(learnt["right"], truth, atol=1e-4)
assert np.allclose(learnt["no logQ, hits stay"], 0.2, atol=1e-4), "nothing of the popularity"
assert learnt["hits stay"][0] < 0.46
assert learnt["no logQ"][0] < 0.3
assert learnt["hits stay"][4] > 0.06

# %% [markdown]
# - The right loss learns the truth.
# - **Accidental hits that stay** count the target twice, so it is pushed down, the more the likelier it is:
#   frequent items end too low and rare ones too high.
# - **Without logQ** a popular item is a negative so often that its score falls. With hits left in as well,
#   *every* item ends with the same share. What is left is $p_j / q_j$, which is 1 here for all: the model
#   has learnt how much likelier an item is than its popularity says.
#
# These shares are exact for the mean of the sum, which many negatives come near. With only four draws even the right
# loss learns slightly flatter shares, for the bias of the logarithm seen above. Some systems want $p/q$, to favour rare items. Then it should be a decision.
#
# ### Negatives from the batch, too
#
# A batch of $B$ pairs has $B$ targets, and the others' targets are negatives of mine that cost nothing: they are
# embedded already. They come from the targets' own distribution $p$, not from $q$. What is the correction
# now? Ask what always counts: *how often is item $j$ expected among all negatives?* $n q_j$ times by
# drawing, and $(B-1)\, p_j$ times from the others (my own target is no negative of mine). So subtract $\log(n q_j + (B-1) p_j)$, **whichever
# way the item came in**.

# %%
show_source(NegativeSampler.add_in_batch)
mixes = ("mixture", "each its own", "as drawn", "none")
mixed = {
    correction: [
        sampled.bias(
            small, sampled.sample_mixed(small, "uniform", n, n, correction=correction, draws=draws)
        )
        for n in (64, 1024)
    ]
    for correction in mixes
}
show_table(
    ["half drawn, half in-batch", "loss − full, 64 + 64", "1024 + 1024", "gradient, 1024 + 1024"],
    [
        (c, *(f"{b.loss.value:+.2f}" for b in row), f"{row[1].gradient:.2f}")
        for c, row in mixed.items()
    ],
)
assert abs(mixed["mixture"][1].loss.value) < 0.05
assert not usual or mixed["mixture"][1].gradient < 0.04
assert all(abs(mixed[c][1].loss.value) > 0.4 for c in mixes[1:])
assert not usual or mixed["as drawn"][1].gradient > 0.7

# %% [markdown]
# The mixture's correction meets the full softmax. *Each its own* corrects a drawn item by $nq$ and an
# in-batch one by $(B-1)p$; each half then estimates the whole sum by itself, and the two add up to twice
# the sum: the loss is too high by about $\log 2 \approx 0.69$. *As drawn* takes all for uniform draws, and
# popular items, which fill the batch, count far too much: the gradient points elsewhere. (The gradient of
# *each its own* is hardly off. Where the target is a small part of the sum, doubling the rest leaves the
# shares of the rest what they were. It is the milder mistake, like uniform without logQ.)
#
# ## 2. What negatives do to the lists
#
# Now the same questions for a trained MIND. The world has 16 clusters of 40 items, with Zipf's popularity in
# each; a user has one to four clusters, and a tenth of her events is noise. Her last event is held out as
# test, the one before it is the **validation** event, which we look at here. **HitRate@10**: in how many
# percent of the cases is it among the ten items at the top of the list? We change one thing at a time
# (the batch, where its targets serve as negatives, adds to their number, too);
# the usual setting is 128 uniform negatives with logQ and a batch of 256 pairs. "Wrong logQ" for the mixture
# is *as drawn* from above. Unless it says otherwise, all pass over the pairs equally often. Dots are seeds, lines their means; dotted are popularity, the floor, and the oracle,
# who knows the planted probabilities.

# %%
lab = sampled_trials.laboratory(users=users, epochs=epochs, seeds=seeds)
groups, bounds = lab.run(sampled_trials.settings()), lab.bounds()
_ = save_figure(plots.settings_compared(groups, sampled_trials.METRIC, bounds), "04_negatives.svg")
count, origin, size = groups.values()
show_table(
    [f"{sampled_trials.METRIC}, %", "mean ± deviation over seeds"],
    [(name, spread(values)) for group in groups.values() for name, values in group.items()],
)
lead = sampled_trials.lead
show_table(
    ["points of HitRate ahead", "seed by seed", "mean (95 % interval)"],
    [
        (
            "popularity, with logQ against without",
            *lead(origin["popularity"], origin["popularity, no logQ"]),
        ),
        (
            "mixture, right against wrong",
            *lead(origin["uniform + batch"], origin["uniform + batch, wrong logQ"]),
        ),
        ("popularity against uniform", *lead(origin["popularity"], origin["uniform"])),
        ("uniform + batch against uniform", *lead(origin["uniform + batch"], origin["uniform"])),
        ("512 negatives against 128", *lead(count["n = 512"], count["n = 128"])),
    ],
)
logq = origin["popularity"] - origin["popularity, no logQ"]
mixture = origin["uniform + batch"] - origin["uniform + batch, wrong logQ"]
assert not usual or ((logq > 0.02).all() and (mixture > 0.01).all()), "in every seed"
assert not usual or (count["n = 16"] < count["n = 128"] - 0.05).all()
for a, b in (
    (count["n = 512"], count["n = 128"]),
    (origin["popularity"], origin["uniform"]),
    (origin["uniform + batch"], origin["uniform"]),
):
    if usual:
        gap = mean_estimate(torch.from_numpy(a - b))
        assert gap.low < 0 < gap.high, "no difference can be seen"
assert not usual or (size["B = 1024"] < size["B = 256"] - 0.05).all()
more = size["B = 1024, 4 × the passes"]
assert not usual or more.mean() > size["B = 256"].mean() - 0.02 > size["B = 1024"].mean()

# %% [markdown]
# What can be said with this many seeds in one world:
#
# - **The correction decides.** Popularity without logQ loses in every seed, and so does the mixture with
#   the wrong correction, both by several points. (Intervals from three seeds are wide. But we know from
#   section 1, exactly, that both losses are wrong.)
# - **More negatives help until they do not.** Four or sixteen are far too few. Between 128 and 512 no
#   difference can be seen: the interval of the mean includes zero.
# - **With the right correction we see no difference in where they come from.** Between uniform, popularity
#   and mixture the intervals include zero as well. A small difference would not show.
# - **A large batch needs more passes.** With 1,024 pairs a step, the same passes are a quarter of the steps, and
#   the lists are far worse. Four times the passes, as many steps as with 256, mend it. So it is
#   the number of steps that was missing, at this learning rate.
#
# ## 3. Adam, for a table of which a step sees little
#
# A step with 256 pairs, histories of 30 and 128 negatives touches at most $256 \cdot 31 + 128 = 8064$ items,
# whatever the catalogue's size. Adam
# keeps two more numbers for each weight: $m$, a running mean of its gradients, and $s$, one of their squares.
# Dense Adam updates all of them at every step. mindlib's `RowAdam` gathers the touched rows, gives them to
# torch's own Adam, and puts them back.
#
# A small example: two rows, 60 steps, each gradient is 1. Row A is touched at every step. Row B is
# touched at the first five, and then once more at step 41.

# %%
touched = np.zeros((60, 2))
touched[:, 0] = touched[:5, 1] = touched[40, 1] = 1
taken = paths(touched)
_ = save_figure(plots.adam_paths(taken, ["row A", "row B"]), "04_adam.svg")
assert np.allclose(taken.by_rows[:, 0], taken.dense[:, 0], atol=1e-6), "row A: the same"
assert np.allclose(taken.by_rows[:6, 1], taken.dense[:6, 1], atol=1e-6), "row B: so far the same"
rest_rows, rest_dense = (np.ptp(path[5:41, 1]) for path in (taken.by_rows, taken.dense))
print(f"row B from step 6 to 40, without a gradient: dense Adam moves it by {rest_dense:.2f}, "
      f"by rows {rest_rows:.2f}; its five touched steps moved it by {abs(taken.by_rows[5, 1]):.2f}")  # fmt: skip
assert rest_rows == 0
assert rest_dense > abs(taken.by_rows[5, 1])

# %% [markdown]
# **Touched at every step: the same**, to the last digits (the equality above). **Left out: different.** Dense
# Adam goes on moving row B along its old mean gradient, further than its real gradients ever did. By rows
# it rests. That is another algorithm, sometimes called *lazy Adam*, and no cheaper way to compute the same.
# Which of the two gives better lists is not measured here.
#
# What it saves, measured here and now: one step on a table of $d=64$ of which 1,024 rows have a gradient. The
# two take turns; each number is the fastest of seven.

# %%
live = [step_cost(rows) for rows in (10_000, 100_000, 1_000_000)]
_ = save_figure(plots.step_costs(live), "04_step.svg")
show_table(
    ["items", "by rows, ms", "dense, ms", "dense / by rows", "by rows, GB", "dense, GB"],
    [
        (f"{c.rows:,}", f"{c.by_rows:.1f}", f"{c.dense:.1f}", f"{c.dense / c.by_rows:.1f}",
         f"{c.gigabytes:.2f}", f"{c.gigabytes + c.gradient:.2f}")
        for c in live
    ],
)  # fmt: skip
growth = live[-1].dense / live[0].dense, live[-1].by_rows / live[0].by_rows
print(
    f"100 times the items: dense Adam takes {growth[0]:.0f} times as long, by rows {growth[1]:.1f}"
)
assert growth[0] > 3 * growth[1], "dense Adam pays for the table, by rows for the batch"
kept = records.record("scaling")
if kept:
    table = records.scaling_rows(kept.rows)
    names = list(next(iter(table.values())))
    display(Markdown(f"A whole training step of MIND, {kept.source}:"))
    show_table(
        ["items", *names],
        [
            (f"{n:,}", *("–" if row.get(k) is None else f"{row[k]:,.2f}" for k in names))
            for n, row in table.items()
        ],
    )
    least, most = table[min(table)], table[max(n for n in table if table[n]["dense Adam, ms"])]
    assert (
        most["dense Adam, ms"] / least["dense Adam, ms"]
        > most["RowAdam, ms"] / least["RowAdam, ms"]
    )

# %% [markdown]
# The time by rows depends on the rows that a batch touches, the time of dense Adam on the catalogue. (The
# times are this machine's, with whatever else it was doing; the *kind* of growth is asserted. A small table
# fits into the processor's cache, so dense Adam may grow faster than the table.) Memory
# is another matter: both keep the table and two moments, $3 \cdot 4 d$ bytes an item, and dense Adam needs
# a fourth table for the gradient. By rows saves time, not much memory.
#
# ## 4. A training that survives
#
# `fit` is one call. It writes a checkpoint after each epoch: weights, both moments, the state of the
# random generator, and the log, in *one* file that is renamed into place when it is complete. So a file that
# exists is whole. The same call on the same folder goes on from the newest.
#
# We train a small MIND for eight epochs with a rate that warms up over 20 steps and then falls along a
# cosine. Once undisturbed; once in a process of its own that dies by `SIGKILL`, which no program can catch, in
# the middle of the fourth epoch. Then the same call again.

# %%
small_split = interrupted.small_split()
per_epoch = -(-len(small_split.train) // interrupted.TRAINING.batch_size)
fatal = 3 * per_epoch + per_epoch // 2
with tempfile.TemporaryDirectory() as home:
    death = interrupted.killed(Path(home) / "killed", fatal)
    model, log = interrupted.train(small_split, Path(home) / "killed")
    undisturbed, whole_log = interrupted.train(small_split, Path(home) / "whole")
_ = save_figure(
    plots.survived(whole_log.log, log.log, "HitRate@10", fatal / per_epoch), "04_survived.svg"
)
print(f"the process ended with {death.code} in step {fatal} of {interrupted.EPOCHS * per_epoch}; "
      f"it left the checkpoint of epoch {death.epochs[-1]}")  # fmt: skip
pairs = zip(model.state_dict().values(), undisturbed.state_dict().values(), strict=True)
assert all(same(a, b) for a, b in pairs), "bit by bit the same weights"
assert [r.loss for r in log.log] == [r.loss for r in whole_log.log]
assert death.epochs == [3]
assert not death.unfinished
stopped = interrupted.stopped_early(small_split)
print(f"60 epochs allowed, {len(stopped.log)} made, those of epoch {stopped.best_epoch} kept")
assert len(stopped.log) == stopped.best_epoch + 2 < 60, "two epochs without a better value"

# %% [markdown]
# The dots lie on the line: three epochs from before the death, five from after. Not nearly: **every weight is
# equal, bit for bit**, and so is every loss of the log. The half epoch is lost and made again. (Equal on one
# machine, with the same number of threads; another processor may round otherwise. The tests kill at every
# file operation and at random moments.)
#
# The last line is **early stopping**: with a constant rate and `patience=2`, training ends after two epochs
# without a better value on *validation*, and the weights of the best epoch come back. The test is never
# looked at.
#
# ## 5. Beyond one machine
#
# ### Two processes
#
# Started by `torchrun`, the same `fit` trains one model in several processes. Each takes its part of every
# batch; the gradients are added up; all make the same step. The *global* batch stays what the configuration
# says, so the result should stay as well. We train two models in one process and in two.

# %%
show_source(together.alone)
alone, both = together.alone(small_split), together.torchrun(2)
reseeded = together.alone(small_split, seed=1)
figure = plots.one_and_two(*({n: t.losses for n, t in x.items()} for x in (alone, both)))
_ = save_figure(figure, "04_together.svg")
for name in together.MODELS:
    off = max(abs(a - b) for a, b in zip(alone[name].losses, both[name].losses, strict=True))
    weights = float((alone[name].weights - both[name].weights).abs().max())
    luck = max(abs(a - b) for a, b in zip(alone[name].losses, reseeded[name].losses, strict=True))
    print(f"{name}: losses differ by at most {off:.1e} (two seeds in one process: {luck:.1e}), "
          f"item weights by {weights:.1e}")  # fmt: skip
    assert off < (1e-4 if name == "YouTube DNN" else 0.2)
    assert name == "MIND" or weights < 1e-3
sent = together.exchanged("MIND", small_split)
print(
    f"a step: {sent.rows} rows with a gradient, {sent.as_rows:,} bytes; the whole table {sent.as_table:,}"
)

# %% [markdown]
# The order of the pairs, their targets and the negatives are drawn the same in all processes. So YouTube DNN, which
# draws nothing else, gets the *same weights* up to rounding. MIND draws its routing
# logits, each process for its own users, so it sees other luck. Its curves differ as those of two seeds in one
# process do, in size (printed in brackets), and its weights are other weights. Nothing is wrong with either.
#
# **What is exchanged**: of the item table only the rows that have a gradient, each as its number (8 bytes) and
# $d$ values; the other weights, which are few, whole. In this tiny world a step touches all rows but that of
# the padding, and rows cost a little *more* than the table would. On paper it looks different.
#
# ### A hundred GPUs, on paper
#
# The paper trains every day, on 100 GPUs, for 8 hours. It does not say how many pairs; take $10^8$ items,
# $5 \cdot 10^8$ users with 20 new pairs each, $d=64$, 1,024 pairs and a history of 50 for each GPU and step, and
# 10,000 negatives. The rate of 10,000 pairs a second for each GPU is an assumption too. The rest is
# arithmetic.

# %%
scale = Scale(
    items=10**8, users=5 * 10**8, events=10**10, dim=64, history_length=50,
    batch_size=100 * 1024, negatives=10_000, workers=100, pairs_per_second=10_000,
)  # fmt: skip
show_table(
    ["on paper", ""],
    [
        ("item table", f"{scale.table_bytes / 1e9:.0f} GB"),
        ("Adam's two moments", f"{scale.optimizer_bytes / 1e9:.0f} GB"),
        ("a table of users, if there were one", f"{4 * scale.dim * scale.users / 1e9:.0f} GB"),
        ("rows that a worker touches a step", f"{scale.rows_per_worker:,.0f}"),
        ("sent by a worker a step, as rows", f"{scale.sent_bytes / 1e6:.0f} MB"),
        ("received from the 99 others", f"{scale.received_bytes / 1e9:.1f} GB"),
        (
            "received if the whole table travelled (all-reduce: out and back)",
            f"{scale.dense_exchange_bytes / 1e9:.0f} GB",
        ),
        ("steps of one pass", f"{scale.steps:,}"),
        ("hours of one pass", f"{scale.hours:.1f}"),
        ("pairs a second and GPU for 8 hours", f"{scale.pairs_per_second_for(8):,.0f}"),
        (
            "made here by one process (CPU, d = 16)",
            f"{max(r.samples_per_second for r in whole_log.log):,.0f}",
        ),
        ("a worker's network, GB a second", f"{scale.bytes_per_second / 1e9:.0f}"),
    ],
)
assert scale.table_bytes + scale.optimizer_bytes > 75e9
assert scale.dense_exchange_bytes > 20 * scale.received_bytes
assert 2 < scale.hours < 4
assert scale.bytes_per_second > 5e9

# %% [markdown]
# Three things follow.
#
# - **Time is not the obstacle**, on these assumptions. The paper's 8 hours need a few thousand pairs a second
#   of each GPU; under it stands what the small model of section 4 made on this CPU.
# - **There is no table of users.** A user is computed from her behaviours: half a billion of them cost nothing
#   to store. That is the point of the architecture.
# - **Memory is.** Table and moments take $3 \cdot 4 \cdot 64$ bytes an item, so an 80 GB GPU is full at
#   $80 \cdot 10^9 / 768 \approx 1.04 \cdot 10^8$ items, before anything else. And every worker holds all of it and receives everybody's rows, which no usual network carries at this rate.
#
# So from here on the table must be **sharded by rows**: each worker owns a hundredth of it, with its moments,
# and a step asks the owners for the rows it needs and sends the gradients back to them. Libraries do that
# (TorchRec, for one). In mindlib it would replace three things: `ItemEmbedding` (the lookup), `RowAdam` (each
# owner updates its rows) and `Workers.sum_gradients` (rows go to their owner instead of to all). What stays is
# everything that the paper is about: routing, attention, the loss with its correction, the sampler. That
# is an argument on paper; mindlib has not been run at this size.
#
# ## 6. Serving: K vectors, one list
#
# At serving an item's score is that of the best interest (Eq. 3):
# $f(\mathbf V_u, \mathbf e_i) = \max_k \mathbf e_i^\top \mathbf v_u^k$. Nobody scores $10^8$ items for each
# request. An **index** answers "the $m$ items with the largest inner product with this vector" quickly,
# perhaps missing some. (mindlib has an exact one, Faiss's and Milvus's, behind one protocol.) It takes one vector; a user has $K$. So: search once for each interest, then merge.
#
# Two lists by hand. Interest 1 finds items 7, 3, 9 with scores .9, .5, .1; interest 2 finds 3, 5, 2 with
# .8, .7, .3; a third interest is *inactive* (the user does not have it).

# %%
lists = torch.tensor([[[7, 3, 9], [3, 5, 2], [0, 0, 0]]])
of_lists = torch.tensor([[[0.9, 0.5, 0.1], [0.8, 0.7, 0.3], [-torch.inf] * 3]])
top = merge(lists, of_lists, 4)
print("items ", top.items[0].tolist())
print("scores", [round(s, 2) for s in top.scores[0].tolist()])
assert top.items[0].tolist() == [7, 3, 5, 2], "item 3 once, with its better score"
show_source(merge)

# %% [markdown]
# Three rules. **An item comes once**, with its best score. **An inactive interest is never searched**: its vector
# is zeros, and would find something all the same. **What she has had is left out**, and therefore more is
# fetched: with $h$ items to exclude, $N + h$ for each interest (users searched together share
# the largest $h$ among them). Then at least $N$ allowed ones are among them.
# An item that no list has is beaten by these $N$, so it does not belong in the merged list: nothing is missing.
#
# The cell trains a MIND on a world of some 4,000 items ($K=5$, $d=16$) and puts an exact index under it that
# counts what reaches it. **Equality**: the lists are those of brute force, which scores every item with every
# interest.

# %%
served = serving_trials.served_model()
world, split, model = served
test = split.test
vectors, active = model.interests(test.histories)
index = serving_trials.CountingIndex(*catalogue(model))
found = search(index, vectors, active, 50, histories=test.histories)
brute = score_by_best_interest(vectors, active, model.item_vectors())
brute[:, 0] = -torch.inf
who, had = test.histories.pairs()
brute[who, had] = -torch.inf
assert torch.allclose(found.scores, brute.topk(50).values, atol=1e-4), "brute force"
assert sum(index.queries) == int(active.sum()) < active.numel(), "no inactive interest"
assert all(len(row.unique()) == 50 for row in found.items), "no item twice"
pairs = set(zip(who.tolist(), had.tolist(), strict=True))
assert not any((u, i) in pairs for u, row in enumerate(found.items.tolist()) for i in row)
print(f"{len(vectors)} users, {active.numel()} places for interests, {sum(index.queries)} searched; "
      f"{min(index.widths)} to {max(index.widths)} items fetched for each, for lists of 50")  # fmt: skip

# %% [markdown]
# ### What an approximate index costs
#
# An *inverted file* (IVF) groups the items around centres and searches only the `nprobe` groups nearest to a
# vector. *Product quantisation* (PQ) stores a vector in a few bytes, coarsely. Both are Faiss's. **Recall**
# here is the share of the exact list that is found. What we really want to know is what it does to
# HitRate@50, user by user.

# %%
losses = serving_trials.lost(model, test)
show_table(
    ["index", "recall of the exact top 50, %", "HitRate@50, %", "change in points (95 % interval)"],
    [
        (x.name, f"{100 * x.recall:.1f}", f"{100 * x.hit_rate:.1f}",
         f"{100 * x.change.value:+.2f} ({100 * x.change.low:+.2f} to {100 * x.change.high:+.2f})")
        for x in losses
    ],
)  # fmt: skip
assert losses[0].recall > 0.9999, "Flat is exact"
assert losses[1].recall > 0.97
assert abs(losses[1].change.value) < 0.01
assert losses[2].change.low <= 0 <= losses[2].change.high
assert 0.78 < losses[3].recall < 0.9
assert losses[3].change.high > 0
assert 0.6 < losses[4].recall < 0.75
assert -0.03 < losses[4].change.value < 0

# %% [markdown]
# Recall counts every place of the list alike; a hit is one item. The inverted file misses about one item in
# a hundred, and no change of HitRate can be told from zero. The finer code (`PQ8x4`) loses a sixth of the exact
# list, and no loss of hits can be shown. The coarsest one loses almost a third of the list, and HitRate falls
# by a point or two. A code confuses items that are near each other, and these are about equally likely to be
# next: that may be why hits suffer less than recall. (One model, one test set. With `nprobe 1` mindlib still searches more than one group: it
# takes as many as are needed for four times the results asked for.)
#
# ### Recall against latency
#
# Now one request at a time, one thread, lists of 100, a history of 50 to leave out, 30,000 made-up vectors of
# $d=64$. **p50** is the median request, **p99** the one that one in a hundred exceeds.

# %%
points, by_interests = serving_trials.curve(serving_trials.requests())
curves, by_size = {"live, 30,000 items": points}, {"live": by_interests}
kept = records.record("serving")
if kept:
    curves |= records.serving_curves(kept.rows)
    by_size["recorded"] = records.serving_by_interests(kept.rows)
    display(
        Markdown(f"With the live ones stand larger catalogues and lists of 1,000, {kept.source}.")
    )
_ = save_figure(serving_plots.recall_and_latency(curves, by_size), "04_latency.svg")
show_table(
    ["", "K", "recall", "p50, ms", "p99, ms"],
    [
        (f"{where}: {p.name}", p.interests, f"{p.recall:.3f}", f"{p.p50:.2f}", f"{p.p99:.2f}")
        for where, row in (curves | by_size).items()
        for p in row
    ],
)
assert points[0].recall == 1
assert points[1].recall < points[-1].recall, "more probes find more"
assert by_interests[0].p50 < by_interests[-1].p50 < 5 * by_interests[0].p50

# %% [markdown]
# More probes find more and take longer: the curve is what one chooses from. In a catalogue this small the exact
# search (the star) costs about as much as the settings that find nearly everything; an index pays for itself
# in a large one. (The recorded exact searches read four bytes for each number. The exact index of today reads one:
# [docs/speed.md](../docs/speed.md).) At equal probes recall rises with $K$: the lists of one
# user's interests share the probes. Seven interests cost more than one,
# but (live) far from seven times as much, for a part of each request does not depend on $K$. The paper reports less than
# 15 ms for the whole matching stage. This is one machine's engine alone, without the network; p99 is the
# first number that other programs spoil.
#
# ## 7. Is what is served what was evaluated?
#
# The classic failure of deployed models is **skew**: the served numbers differ a little from those that were
# judged, and nothing crashes. mindlib exports the interest extractor as an ONNX graph, and the test is that
# both give the same vectors for the same users. Four checks: the export's vectors equal evaluation's; a user
# alone equals the same user in a batch; no label goes in; and a user without a past gets what evaluation gives
# her. (Evaluation and training share the code, but for what training alone draws: notebook 02.)

# %%
with tempfile.TemporaryDirectory() as folder:
    program = ExportedModel.load(export(model, split.log, Path(folder) / "mind"))
    inputs = [x.name for x in program.session.get_inputs()]
    difference = measure_skew(model, program, test.histories)
    batch = program.interests(test.histories)[0][:20]
    single = torch.cat(
        [program.interests(test.histories.select(slice(n, n + 1)))[0] for n in range(20)]
    )
    cold = Histories.from_lists([[]], [[1]])
    nobody, has = program.interests(cold)
    assert torch.allclose(nobody, model.interests(cold)[0], atol=1e-5)
print("inputs of the graph:", ", ".join(inputs))
print(f"largest difference to evaluation's vectors: {difference:.1e} of a vector's length")
print(f"alone or in a batch: {float((batch - single).abs().max()):.1e}")
print(
    f"a user without behaviours has {int(has.sum())} interest, of length {float(nobody[has].norm()):.2f}"
)
assert difference < 1e-4
assert torch.allclose(batch, single, atol=1e-4)
assert inputs == ["items", "mask", "profile"], "no label"
assert has.sum() == 1

# %% [markdown]
# - **No label** goes in: label-aware attention (notebook 03) is a part of training alone.
# - **The same vectors** to rounding, and the same whether a user comes alone or in a batch. The second is
#   not free: the routing logits are random in training. Outside it they are computed from item and seed, so
#   that a user is herself in any company.
# - **A cold user**, without a single behaviour, is answered from her profile, as in evaluation.
#
# ### One more click
#
# The tables stay as they are all day; a user's vectors are made anew at each request. So a click counts at
# once, without any training. Here is a map of the items (the two directions in which they differ most; the
# stars are drawn shorter, all by one factor). The user is the first in the test with fewer than 15
# behaviours. Choose a cluster and how many of its popular items she clicks on.

# %%
case = int((test.histories.lengths < 15).nonzero()[0])
view = click_map(served, case)
own = np.flatnonzero(world.interests[int(test.histories.users[case])])
foreign = [c for c in view.popular if c not in own]
before = view.after(foreign[0], 0)


def clicked(cluster, clicks):
    return serving_plots.clicked(view, before, view.after(cluster, clicks), own, cluster)


_ = explore(
    clicked,
    cluster=ipywidgets.Dropdown(
        options=list(view.popular), value=foreign[0], description="cluster"
    ),
    clicks=ipywidgets.IntSlider(value=3, min=0, max=8, description="clicks"),
)
after = view.after(foreign[0], 3)
print(f"behaviours {len(view.past)} -> {len(view.past) + 3}, interests "
      f"{before.active.sum()} -> {after.active.sum()}; of her top 20, cluster {foreign[0]} has "
      f"{before.clusters[foreign[0]]} -> {after.clusters[foreign[0]]}")  # fmt: skip
reached = [
    sum(bool(view.after(c, n).clusters[c] > before.clusters[c]) for c in foreign) for n in (1, 3, 8)
]
moved = float((view.after(foreign[0], 1).vectors - before.vectors).norm() / before.vectors.norm())
print(f"one click on cluster {foreign[0]} moves her vectors by {moved:.0%} of their length")
assert moved > 0.01
print(f"of {len(foreign)} clusters that are not hers, 1, 3 and 8 clicks bring more of {reached}")
assert (before.active.sum(), after.active.sum()) == (3, 4)
assert torch.equal(view.after(foreign[0], 0).vectors, before.vectors), "no click, no change"
assert not torch.allclose(after.vectors, before.vectors)
assert reached[0] <= reached[1] <= reached[2]

# %% [markdown]
# Rings are the interests before, stars after. An arrow joins each ring with its own star: the pairs that are
# nearest all in all, for the interests' numbers mean nothing. With three clicks she has 16 behaviours, and
# $K'_u = \lfloor\log_2 n\rfloor$ grows from 3 to 4: the star without a ring is a new interest. On the right is what
# it brings into her list. **Her vectors move with the first
# click** (printed below the map); a list of twenty changes later: the new interest has to win a place in routing against the rest of her past. How many clusters
# come through after 1, 3 and 8 clicks is printed above; for one user of one model.
#
# ## 8. Exercises
#
# ### Exercise 1: the sampled loss
#
# Write `sampled_loss(users, targets, negatives, target_ids, negative_ids, log_q)`: the mean over the batch of
# Eq. 11, estimated with the $n$ negatives that all users share. `users` and `targets` are `(batch, d)`,
# `negatives` `(n, d)`; `log_q[i]` is the logarithm of item $i$'s probability in the proposal. Mind accidental hits.


# %%
def sampled_loss(users, targets, negatives, target_ids, negative_ids, log_q):
    return None  # your code here


done = SAMPLED_LOSS.check(sampled_loss)


# %% jupyter={"source_hidden": true} tags=["solution"]
def sampled_loss(users, targets, negatives, target_ids, negative_ids, log_q):
    n = len(negative_ids)
    own = (users * targets).sum(1, keepdim=True)
    others = users @ negatives.T - log_q[negative_ids] - np.log(n)
    others = others.masked_fill(target_ids[:, None] == negative_ids, -torch.inf)
    return (torch.cat([own, others], dim=1).logsumexp(1) - own[:, 0]).mean()


assert SAMPLED_LOSS.check(sampled_loss)

# %% [markdown]
# ### Exercise 2: merge K lists
#
# Write `merge_lists(items, scores, active, n)`: ids and scores `(users, K, m)`, `active` `(users, K)`. Return
# the ids `(users, n)` of the best $n$ items, best first; where there are fewer, 0.


# %%
def merge_lists(items, scores, active, n):
    return None  # your code here


done = MERGE_LISTS.check(merge_lists)


# %% jupyter={"source_hidden": true} tags=["solution"]
def merge_lists(items, scores, active, n):
    rows = []
    for ids, values, has in zip(items, scores, active, strict=True):
        best = {}
        for item, score in zip(
            ids[has].flatten().tolist(), values[has].flatten().tolist(), strict=True
        ):
            best[item] = max(score, best.get(item, score))
        order = sorted(best, key=best.get, reverse=True)[:n]
        rows.append(order + [0] * (n - len(order)))
    return torch.tensor(rows)


assert MERGE_LISTS.check(merge_lists)

# %% [markdown]
# ## What to remember
#
# - The softmax's sum is **estimated** from negatives. Each counts $1/(nq)$ times: subtract $\log(nq)$ from its
#   logit, leave the target's alone, take accidental hits out.
# - Without the correction a model learns something near $p/q$ instead of $p$. In our world that cost several points of
#   HitRate, in every seed. For mixed negatives $nq$ becomes $nq + (B-1)p$.
# - `RowAdam` pays for the rows of a batch, dense Adam for the table. They are the same for rows that are touched at
#   every step, and differ for the others.
# - A checkpoint is one file, renamed when it is whole. After `SIGKILL` the same call ends with the same bits.
# - Several processes exchange rows. At $10^8$ items memory and traffic, not hours, ask for sharded tables.
# - Serving: one search for each **active** interest, $N$ plus the history fetched, merged by the maximum, each
#   item once. No label. Check the skew.

# %%
seconds = time.perf_counter() - started
path = write_metrics(
    "04_training_and_serving",
    {
        "seconds": seconds,
        "bias": {name: {"loss": b.loss.value, "gradient": b.gradient} for name, b in last.items()},
        "validation": {
            title: {name: float(values.mean()) for name, values in group.items()}
            for title, group in groups.items()
        },
        "floors": bounds,
        "dense_over_rows": {str(c.rows): c.dense / c.by_rows for c in live},
        "skew": difference,
        "index": {x.name: {"recall": x.recall, "hit_rate": x.hit_rate} for x in losses},
    },
)
print(f"{seconds:.0f} seconds on {torch.get_num_threads()} threads; the metrics are in {path.name}")
