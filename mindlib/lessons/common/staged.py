"""A check in stages: it runs, the shape is right, the values are right, or which mistake it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Exercise:
    """Something to be written by the reader.

    Attributes:
        name: what the function is called in the notebook.
        solution: a right one.
        examples: the arguments that it is tried on, the simplest first.
        mistakes: what people write instead, by the message that says what is wrong with it.
    """

    name: str
    solution: Callable[..., Tensor]
    examples: Sequence[tuple[Any, ...]]
    mistakes: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)

    def check(self, function: Callable[..., Any]) -> bool:
        """Try the reader's function, print how far it is right, and say whether it is."""
        for number, arguments in enumerate(self.examples, 1):
            message = self._wrong(function, arguments)
            if message:
                print(f"{self.name}, example {number} of {len(self.examples)}: {message}")
                return False
        print(f"{self.name}: correct on {len(self.examples)} of {len(self.examples)} examples.")
        return True

    def _wrong(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> str | None:
        expected = self.solution(*arguments)
        try:
            answer = function(*arguments)
        except Exception as error:
            return f"it does not run yet: {type(error).__name__}: {error}"
        if answer is None or answer is Ellipsis:
            return "nothing is returned yet."
        if not isinstance(answer, Tensor):
            return f"it returns a {type(answer).__name__}; expected a tensor."
        if answer.shape != expected.shape:
            return f"the shape is {tuple(answer.shape)}; expected {tuple(expected.shape)}."
        if self._equal(answer, expected):
            return None
        for message, mistake in self.mistakes.items():
            wrong = mistake(*arguments)
            # A mistake that makes no difference here cannot be told from the solution.
            if not self._equal(wrong, expected) and self._equal(answer, wrong):
                return f"the shape is right, the values are not: {message}"
        if not answer.isfinite().all():
            return "the shape is right, but there are values that are not finite."
        worst = (answer - expected).abs().max().item()
        return f"the shape is right, the values are not: they are off by up to {worst:.3g}."

    @staticmethod
    def _equal(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and torch.allclose(
            a.to(b.dtype), b, rtol=0, atol=1e-5, equal_nan=True
        )
