"""One planted user under the reader's hand: the same user and the same luck at every setting."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.routing_trials import planted_users, recovered_clusters, route_users


class View(NamedTuple):
    """One user's routing, as a picture needs it.

    Attributes:
        coupling: w, of the interests and the behaviours.
        cosine: of each two interests.
        clusters: the planted interest of each behaviour.
        found: how many planted interests were found.
    """

    coupling: Float[Tensor, "interests length"]
    cosine: Float[Tensor, "interests interests"]
    clusters: Int[Tensor, " length"]
    found: int


def view(config: RoutingConfig, *, scale: float, seed: int) -> View:
    """Route one planted user; the same user and the same luck whatever the configuration."""
    one = planted_users(1, scale=scale, generator=torch.Generator().manual_seed(seed))
    luck = torch.Generator().manual_seed(seed + 1)
    # The draw of the first interests does not depend on how many there are.
    logits = config.sigma * torch.stack(
        [torch.randn(1, one.items.shape[1], generator=luck) for _ in range(config.max_interests)], 1
    )
    capsules = route_users(one, config, logits)
    unit = torch.nn.functional.normalize(capsules.vectors[0], dim=1)
    found = int(recovered_clusters(capsules.coupling, one.clusters).sum())
    return View(capsules.coupling[0], unit @ unit.T, one.clusters[0], found)


AS_IT_STANDS = RoutingConfig.paper(max_interests=3, adaptive=False)

# What to try, by name: the length of the embeddings, and the configuration.
TRIES = {
    "as it stands": (4.0, AS_IT_STANDS),
    "one round: only the draw": (4.0, replace(AS_IT_STANDS, iterations=1)),
    "σ = 0: equal rows": (4.0, replace(AS_IT_STANDS, sigma=0.0)),
    "length 0.5: σ = 1 is now only noise": (0.5, AS_IT_STANDS),
    "length 0.5 and ten rounds": (0.5, replace(AS_IT_STANDS, iterations=10)),
    "softmax over behaviours": (4.0, replace(AS_IT_STANDS, softmax_over="behaviors")),
    "K = 5: more rows than kinds": (4.0, replace(AS_IT_STANDS, max_interests=5)),
}
