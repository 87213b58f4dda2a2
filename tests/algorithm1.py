"""Algorithm 1 of the paper in plain Python: loops over floats, nothing shared with mindlib."""

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
