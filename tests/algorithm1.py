"""Algorithm 1 of the paper in plain Python: loops over floats, independent of mindlib.

`route_tuned` is the tuned form: the same iterations with cosines, means and farthest points.
"""

import math


def squash(z):
    square = sum(x * x for x in z)
    if square == 0:
        return [0.0 for _ in z]
    return [square / (1 + square) * x / math.sqrt(square) for x in z]


def num_interests(behaviors, most):
    """K'_u = max(1, min(K, log2 |I_u|)), rounded down."""
    power = 0
    while 2 ** (power + 1) <= behaviors:
        power += 1
    return max(1, min(most, power))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax_over_interests(b):
    """w[j][i] = exp(b[j][i]) / sum over j."""
    totals = [sum(math.exp(x) for x in column) for column in zip(*b, strict=True)]
    return [[math.exp(x) / total for x, total in zip(row, totals, strict=True)] for row in b]


def weighted_sums(w, votes):
    """z_j = sum_i w_ij S e_i."""
    return [[dot(row, column) for column in zip(*votes, strict=True)] for row in w]


def route(behaviors, s, logits, iterations, most):
    """Interests u_j and coupling w_ij (rows interests) of one user.

    Args:
        behaviors: e_i, one list each, without padding.
        s: the bilinear map, a list of rows.
        logits: b[j][i], the initial logits of interest j and behavior i.
    """
    votes = [[dot(row, e) for row in s] for e in behaviors]
    b = [list(row) for row in logits[: num_interests(len(behaviors), most)]]
    interests, w = [], []
    for _ in range(iterations):
        w = softmax_over_interests(b)
        interests = [squash(z) for z in weighted_sums(w, votes)]
        for j, interest in enumerate(interests):
            for i, vote in enumerate(votes):
                b[j][i] += dot(interest, vote)
    return interests, w


def cosine(a, b):
    norms = math.hypot(*a) * math.hypot(*b)
    return dot(a, b) / norms if norms else 0.0


def farthest(votes, most):
    """The directions of the initial interests: behaviors far from each other, then their mean.

    Args:
        votes: S e_i, one list each.
    """
    units = [[x / math.hypot(*vote) for x in vote] for vote in votes]
    mean = [sum(column) / len(units) for column in zip(*units, strict=True)]
    to_all = [sum(cosine(unit, other) for other in units) for unit in units]
    seeds = [units[to_all.index(min(to_all))]]
    while len(seeds) < most:
        nearest = [max(cosine(unit, seed) for seed in seeds) for unit in units]
        if min(nearest) > 1 - 1e-5:  # all behaviors are seeds
            return seeds + [mean] * (most - len(seeds))
        seeds.append(units[nearest.index(min(nearest))])
    return seeds


def route_tuned(behaviors, s, iterations, most, scale):
    """As `route`, but b += scale * cos(u_j, S e_i), first with the seeds, and u_j is a mean."""
    votes = [[dot(row, e) for row in s] for e in behaviors]
    directions = farthest(votes, num_interests(len(behaviors), most))
    b = [[0.0] * len(behaviors) for _ in directions]
    w = []
    for _ in range(iterations):
        for j, direction in enumerate(directions):
            for i, vote in enumerate(votes):
                b[j][i] += scale * cosine(direction, vote)
        w = softmax_over_interests(b)
        sums = weighted_sums(w, votes)
        directions = [[x / sum(row) for x in z] for z, row in zip(sums, w, strict=True)]
    return directions, w
