"""Algorithm 1 of the paper in plain Python: loops over floats, nothing shared with mindlib.

And the tuned form: the same iterations with cosines, means and farthest-point initialization.
"""

import math


def squash(z):
    square = sum(x * x for x in z)
    if square == 0:
        return [0.0 for _ in z]
    return [square / (1 + square) * x / math.sqrt(square) for x in z]


def how_many(behaviors, most):
    """K'_u = max(1, min(K, log2 |I_u|)), rounded down."""
    power = 0
    while 2 ** (power + 1) <= behaviors:
        power += 1
    return max(1, min(most, power))


def route(behaviors, s, logits, iterations, most):
    """Interests u_j and coupling w_ij (rows interests) of one user.

    Args:
        behaviors: e_i, one list each (real behaviours only, no padding).
        s: the bilinear map, a list of rows.
        logits: b[j][i], the initial logits of interest j and behaviour i.
    """
    dim, count = len(s), how_many(len(behaviors), most)
    votes = [[sum(s[a][b] * e[b] for b in range(dim)) for a in range(dim)] for e in behaviors]
    b = [list(row) for row in logits[:count]]
    interests, w = [], []
    for _ in range(iterations):
        w = [[0.0] * len(behaviors) for _ in range(count)]
        for i in range(len(behaviors)):
            total = sum(math.exp(b[j][i]) for j in range(count))
            for j in range(count):
                w[j][i] = math.exp(b[j][i]) / total
        interests = []
        for j in range(count):
            z = [sum(w[j][i] * votes[i][a] for i in range(len(behaviors))) for a in range(dim)]
            interests.append(squash(z))
        for j in range(count):
            for i in range(len(behaviors)):
                b[j][i] += sum(interests[j][a] * votes[i][a] for a in range(dim))
    return interests, w


def cosine(a, b):
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def farthest(votes, most):
    """The directions at which `most` interests start: behaviours far apart, then their mean.

    Args:
        votes: S e_i, one list each.
    """
    units = [[x / math.hypot(*vote) for x in vote] for vote in votes]
    mean = [sum(column) / len(units) for column in zip(*units, strict=True)]
    likeness = [sum(cosine(unit, other) for other in units) for unit in units]
    seeds = [units[likeness.index(min(likeness))]]
    while len(seeds) < most:
        nearest = [max(cosine(unit, seed) for seed in seeds) for unit in units]
        if min(nearest) > 1 - 1e-5:  # all are seeds
            return seeds + [mean] * (most - len(seeds))
        seeds.append(units[nearest.index(min(nearest))])
    return seeds


def route_tuned(behaviors, s, iterations, most, scale):
    """As `route`, but b += scale cos(u_j, S e_i) from cosines to seeds, and u_j is a mean."""
    dim, count = len(s), how_many(len(behaviors), most)
    votes = [[sum(s[a][b] * e[b] for b in range(dim)) for a in range(dim)] for e in behaviors]
    directions = farthest(votes, count)
    b = [[0.0] * len(behaviors) for _ in range(count)]
    w = []
    for _ in range(iterations):
        for j in range(count):
            for i in range(len(behaviors)):
                b[j][i] += scale * cosine(directions[j], votes[i])
        w = [[0.0] * len(behaviors) for _ in range(count)]
        for i in range(len(behaviors)):
            total = sum(math.exp(b[j][i]) for j in range(count))
            for j in range(count):
                w[j][i] = math.exp(b[j][i]) / total
        directions = [
            [
                sum(w[j][i] * votes[i][a] for i in range(len(behaviors))) / sum(w[j])
                for a in range(dim)
            ]
            for j in range(count)
        ]
    return directions, w
