"""A simulated week of the training platform: every evening each way trains, every next day judges.

Training only; a version is not written to disk seven times over (`refresh` does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.evaluation import compare, evaluate
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n06_online.days import Day, iterate_days, spread_over_days
from mindlib.models.mind import MINDConfig
from mindlib.online.refresh.training import RefreshConfig, TrainedModel, WarmStartConfig, train
from mindlib.training import Fit, TrainingConfig

FROZEN = "no refresh"


@dataclass(frozen=True)
class Evening:
    """One way on one day: a row of the week's table.

    Attributes:
        day: t, from 0: the first evening, on which all ways are the same model.
        way: its name; `FROZEN` is the model of day 0, asked again.
        events, items: of the log that evening.
        cases: of the next day's judge.
        known: the share of the judge's targets that the model's catalogue has: no recall is higher.
        recall: Recall@N on the next day.
        gain, low, high: how much that is above the model of day 0, asked the same cases, and the
            95 % interval of this difference. (Of the cases, not of another training.)
        epochs, steps: that training took; 0 of a frozen model.
        steps_to_scratch: after how many of its steps the way's validation metric was at least the
            best that training from scratch came to that evening: 0 if it was from the start, None
            if never. (Validated after each epoch, on the same users.)
        seconds: of training, as a ratio to training from scratch the same evening.
    """

    day: int
    way: str
    events: int
    items: int
    cases: int
    known: float
    recall: float
    gain: float
    low: float
    high: float
    epochs: int
    steps: int
    steps_to_scratch: int | None
    seconds: float


def simulate_week(
    log: Interactions,
    scratch: RefreshConfig,
    warm: Mapping[str, WarmStartConfig],
    *,
    first: int,
    evenings: int = 7,
    cutoff: int = 50,
) -> list[Evening]:
    """Train every evening, from scratch and in each warm way; judge by the next day.

    A warm way goes on from its own model of the evening before; on the first evening all begin
    with the same one, trained from scratch.

    Args:
        log: of all days, the judge's too; see `spread_over_days`.
        scratch: its `warm` does not matter.
        warm: the warm ways, by name.
        first: the day of the first evening, day 0 of the table.
        evenings: how many.
        cutoff: N of Recall@N.

    Returns:
        For each evening a row of each way: "from scratch", the warm ones, `FROZEN`.

    Raises:
        ValueError: a name is taken, or as `days` and `train`.
    """
    taken = {"from scratch", FROZEN} & warm.keys()
    if taken:
        raise ValueError(f"warm={sorted(taken)}: these names are taken; choose others")
    rows: list[Evening] = []
    models: dict[str, TrainedModel] = {}
    for day in iterate_days(log, first, first + evenings - 1):
        tonight = {"from scratch": train(day.log, scratch, None)}
        for name, way in warm.items():
            before = models.get(name)
            tonight[name] = (
                train(day.log, replace(scratch, warm_start=way), before.warm_state())
                if before
                else tonight["from scratch"]
            )
        models |= tonight
        models.setdefault(FROZEN, tonight["from scratch"])
        found = {name: _recall(trained, day, cutoff) for name, trained in models.items()}
        for name, trained in models.items():
            gain = compare(found[name], found[FROZEN])
            rows.append(
                Evening(
                    day=day.number - first,
                    way=name,
                    events=len(day.log),
                    items=day.log.num_items,
                    cases=len(day.next_day),
                    known=_known(trained, day),
                    recall=float(found[name].mean()),
                    gain=gain.value,
                    low=gain.low,
                    high=gain.high,
                    **_cost(trained if name in tonight else None, tonight["from scratch"]),
                )
            )
    return rows


def planted_week(seed: int = 0) -> list[Evening]:
    """The week of notebook 06, in the planted world: small enough for half a minute.

    A fifth of the users comes first during the week, and a fifth of the catalogue comes out then.
    """
    world = planted_interests(
        PlantedConfig(num_users=600, num_clusters=12, items_per_cluster=30, max_interests=3),
        seed=seed,
    )
    routing = RoutingConfig(max_interests=3)
    model = MINDConfig(dim=16, hidden=(32,), history_length=20, routing=routing)
    training = TrainingConfig.paper(
        epochs=8, batch_size=512, negatives=256, learning_rate=1e-2, patience=2
    )
    # A day has few cases: smaller batches, and by the same factor a lower rate.
    part = 8
    newest = replace(
        training,
        epochs=2,
        batch_size=training.batch_size // part,
        learning_rate=training.learning_rate / part,
    )
    return simulate_week(
        spread_over_days(world.log, seed=seed),
        RefreshConfig(model=model, training=training, held_out=0.4, seed=seed),
        {
            "warm, all days": WarmStartConfig(replace(training, epochs=2)),
            "warm, newest day": WarmStartConfig(newest, recent_days=1),
        },
        first=21,
    )


def _recall(trained: TrainedModel, day: Day, cutoff: int) -> Float[Tensor, " cases"]:
    asked = day.next_day.encode_for(Catalogue.from_log(trained.split.log))
    return evaluate(trained.model, asked, (cutoff,)).values[f"Recall@{cutoff}"]


def _known(trained: TrainedModel, day: Day) -> float:
    asked = day.next_day.encode_for(Catalogue.from_log(trained.split.log))
    return float((asked.targets <= asked.num_items).double().mean())


def _cost(trained: TrainedModel | None, scratch: TrainedModel) -> dict[str, Any]:
    """What tonight's training took; nothing, if there was none."""
    if trained is None:
        return {"epochs": 0, "steps": 0, "steps_to_scratch": None, "seconds": 0.0}
    return {
        "epochs": len(trained.fit.log),
        "steps": trained.fit.log[-1].step,
        "steps_to_scratch": reached(
            trained.initial_value, trained.fit, scratch.fit, scratch.monitor
        ),
        "seconds": trained.seconds / scratch.seconds,
    }


def reached(initial_value: float, done: Fit, scratch: Fit, monitor: str) -> int | None:
    """The steps after which training was as far as training from scratch at its best.

    Args:
        initial_value: the monitored metric before the first step.
    """
    best = max(record[monitor] for record in scratch.log)
    values = [(0, initial_value), *((record.step, record[monitor]) for record in done.log)]
    return next((step for step, value in values if value >= best), None)
