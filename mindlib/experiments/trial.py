"""A trial: a model with its configuration, training and seed; and the results of running it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from mindlib.data.option_types import SEED, Options
from mindlib.evaluation import Evaluation
from mindlib.experiments.cache import SCHEMA, describe_config
from mindlib.models.popularity import Popularity, Random
from mindlib.models.vector_model import VectorModel
from mindlib.training import Fit, TrainingConfig

Part = Literal["validation", "test"]
PARTS: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Trial(Options):
    """A model with its configuration, its training and its seed.

    Attributes:
        name: of the row in a table; it does not affect the result.
        model: a `VectorModel`, which is trained by gradient steps; or a class with
            `fit(split, config)` (ItemCF, WALS); or Popularity or Random.
        config: the model's frozen dataclass; None for Popularity and Random. Its field `seed`, if
            it has one, is set to the trial's seed.
        training: its seed is set to the trial's. For models that are not trained by gradient steps
            only `exclude_history` matters.
        seed: determines the initial weights, the order of the pairs, negatives and random logits.
    """

    name: str
    model: type
    config: Any = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        baseline = self.model in (Popularity, Random)
        if not (baseline or self.is_trained or hasattr(self.model, "fit")):
            raise ValueError(
                f"model={self.model.__name__}: expected a VectorModel, a class with "
                f"fit(split, config), Popularity or Random"
            )
        if baseline != (self.config is None):
            raise ValueError(
                f"config={self.config!r}: expected "
                f"{'None' if baseline else 'the configuration'} for {self.model.__name__}"
            )
        object.__setattr__(self, "training", replace(self.training, seed=self.seed))
        if hasattr(self.config, "seed"):
            object.__setattr__(self, "config", replace(self.config, seed=self.seed))

    @property
    def is_trained(self) -> bool:
        """Whether the model is trained by gradient steps."""
        return issubclass(self.model, VectorModel)

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the seed."""
        return self.is_trained or self.model is Random or hasattr(self.config, "seed")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, apart from the data and the code."""
        exclusion = {"exclude_history": self.training.exclude_history}
        facts = {
            "model": self.model,
            "config": self.config,
            "training": self.training if self.is_trained else exclusion,
            "seed": self.seed,
        }
        return {"schema": SCHEMA} | describe_config(facts)


@dataclass(frozen=True)
class TrialRun:
    """A trial with its results.

    Attributes:
        trial: the trial that was run.
        evaluations: the values of each case, by part.
        fit: the training log; None for a model that is not trained by gradient steps.
        seconds: of training or fitting.
        commits: the code by which it was computed, as `code_version` returns it: one, unless a part
            was evaluated later by other code.
    """

    trial: Trial
    evaluations: dict[Part, Evaluation]
    fit: Fit | None
    seconds: float
    commits: tuple[str, ...]

    @property
    def model(self) -> str:
        """The name of the table's row."""
        return self.trial.name

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation on the test cases."""
        return self.evaluations["test"]
