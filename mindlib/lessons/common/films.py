"""The films of MovieLens-1M as the notebooks show them, and the user whom they follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from mindlib.data import Interactions, Split
from mindlib.experiments.execution import run_trial, trained_model
from mindlib.experiments.trial import Trial
from mindlib.lessons.common.report import output_folder
from mindlib.models import MIND, MINDConfig
from mindlib.training import TrainingConfig

TASTES = ("Film-Noir", "Animation", "War")


def genre_matrix(
    log: Interactions, field: str = "genre"
) -> tuple[Bool[np.ndarray, "items_plus_one genres"], list[str]]:
    """Return whether each film has each genre, and the names of the genres; row 0 is padding.

    Args:
        field: another field of the items, for data without genres.
    """
    features = log.item_features
    assert features is not None
    columns = features.columns[field]
    names = list(features.vocabularies[columns.start])
    has = np.zeros((log.num_items + 1, len(names)), dtype=bool)
    np.put_along_axis(has, features.codes[:, columns], True, axis=1)
    return has[:, 1:], names[1:]


def example_case(split: Split) -> int:
    """Return the test case of the user whose history has the most films of each of the `TASTES`.

    A film counts for a taste if it has this genre and none of the others. The user is the one for
    whom the rarest of the tastes has the largest share of the history, of at most 50 films.
    """
    has, names = genre_matrix(split.log)
    chosen = has[:, [names.index(taste) for taste in TASTES]]
    pure = chosen & (chosen.sum(1, keepdims=True) == 1)
    histories = split.test.histories
    rows, items = (part.numpy() for part in histories.pairs())
    counts = np.zeros((len(histories), len(TASTES)))
    np.add.at(counts, rows, pure[items])
    lengths = histories.lengths.numpy()
    share = counts.min(1) / lengths.clip(1)
    return int(np.where(lengths <= 50, share, -1).argmax())


def genres(log: Interactions, item: int) -> str:
    """Return the genres of a film, for example "Crime, Film-Noir"."""
    has, names = genre_matrix(log)
    return ", ".join(names[g] for g in np.flatnonzero(has[item]))


def typical_genres(log: Interactions, items: Int[np.ndarray, " films"]) -> str:
    """Return the two genres that are most overrepresented among some films."""
    has, names = genre_matrix(log)
    expected = np.average(has[1:], axis=0, weights=log.item_counts()[1:])
    excess = (has[items].mean(0) - expected) / np.sqrt(expected)
    return ", ".join(names[g] for g in np.argsort(-excess)[:2])


def name_interests(
    log: Interactions,
    items: Int[np.ndarray, " films"],
    coupling: Float[np.ndarray, "interests films"],
    field: str = "genre",
) -> list[str]:
    """Return the two genres of which each interest has more than the user's other interests.

    Args:
        items: the films of the user.
        coupling: their weights in each interest.
    """
    has, names = genre_matrix(log, field)
    share = coupling @ has[items] / coupling.sum(1, keepdims=True)
    excess = share - share.mean(0)
    return [", ".join(names[g] for g in row) for row in np.argsort(-excess)[:, :2]]


def reference_model(
    split: Split, seed: int = 0, config: MINDConfig | None = None, **changes: Any
) -> MIND:
    """Train the MIND that the notebooks share, or load it if another notebook has trained it.

    Training takes about half a minute. It uses one thread, because the rounding errors of several
    would change the user's interests from machine to machine. The model stays in the folder "runs"
    of `output_folder`: delete this folder after a change to mindlib that affects training.

    Args:
        config: the configuration of a model that is compared with it; `MINDConfig()` by default.
        changes: to the training configuration.
    """
    training = TrainingConfig(epochs=3, pairs_per_user=20, schedule="cosine", learning_rate=8e-3)
    trial = Trial("MIND", MIND, config or MINDConfig(), replace(training, **changes), seed)
    cache = output_folder() / "runs"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_trial(split, trial, (), cache, parts=())
    finally:
        torch.set_num_threads(threads)
    model = trained_model(split, trial, cache)
    assert isinstance(model, MIND)
    return model
