"""The triple (I_u, P_u, F_i) of §3.1, looked at in a log."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from mindlib.data.interactions import Interactions


def profiled_users(log: Interactions, n: int) -> Int[np.ndarray, " n"]:
    """The first n users whose profile is known in full; the first n of all, if there are fewer."""
    known = np.ones(log.num_users, dtype=bool)
    if log.profiles:
        known = (log.profiles.codes[1:] > 0).all(1)
    found = np.flatnonzero(known) + 1
    return found[:n] if len(found) >= n else np.arange(1, n + 1)


def triple(log: Interactions, user: int, *, last: int = 5) -> str:
    """A user's profile, her behaviours, and the features of her target, which is her last item.

    Args:
        last: how many of the latest behaviours are named.
    """
    features, profiles = log.item_features, log.profiles
    past = log.items[log.offsets[user] : log.offsets[user + 1] - 1]
    target = log.items[log.offsets[user + 1] - 1]
    told = [f"{f} {profiles.names(f)[user]}" for f in profiles.fields] if profiles else []
    spread = f", {len(set(past.tolist()))} different items"
    first = features.fields[0] if features else ""
    where = features.names(first) if features else []
    if features:
        values = set(features.column(first)[past].tolist()) - {0}
        spread += f", {len(values)} values of {first}"
    lines = [
        f"user {log.user_ids[user]}",
        f"  P_u  {', '.join(told) or 'nothing is known'}",
        f"  I_u  {len(past)} behaviours{spread}; the latest:",
    ]
    lines += [
        f"         {log.label(item)}" + (f"   [{where[item]}]" if where else "")
        for item in past[-last:].tolist()
    ]
    fields = features.columns if features else ()
    described = [f"id {log.item_ids[target]}"]
    described += [f"{f} {features.names(f)[target]}" for f in fields] if features else []
    return "\n".join([*lines, f"  F_i  of {log.label(int(target))}: {', '.join(described)}"])


def values_touched(log: Interactions, field: str, *, last: int) -> Int[np.ndarray, " users"]:
    """How many values of an item field the last behaviours of each user have, without the target.

    Args:
        last: how many behaviours count.
    """
    if log.item_features is None:
        raise ValueError(f"field={field!r}: {log.name} has no item features")
    codes = log.item_features.column(field)
    return np.array(
        [
            len(set(codes[log.items[a : b - 1][-last:]].tolist()) - {0})
            for a, b in zip(log.offsets[1:-1], log.offsets[2:], strict=True)
        ]
    )
