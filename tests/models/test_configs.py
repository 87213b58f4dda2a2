"""Configurations refuse values that no model can have."""

import math

import pytest

from mindlib.models import (
    ComiRecDRConfig,
    ComiRecSAConfig,
    ItemCFConfig,
    MaxMFConfig,
    MINDConfig,
    SASRecConfig,
    WALSConfig,
    YouTubeDNNConfig,
)
from tests.conftest import unchecked

VECTOR = [
    ({"dim": 0}, "dim=0: expected 1 to 10,000"),
    ({"dim": -3}, "dim=-3: expected 1 to 10,000"),
    ({"hidden": (0,)}, r"hidden=\(0,\): expected 1 to 10,000"),
    ({"history_length": 0}, "history_length=0: expected 1 to 10,000"),
    ({"head": "linear"}, "head='linear': expected 'residual' or 'relu'"),
    ({"pooling": "max", "title_words": False}, "pooling='max': expected 'mean' or 'sum'"),
    ({"id_scale": 0.0}, "id_scale=0.0: expected 1e-06 to 1,000,000"),
    ({"id_scale": math.inf}, "id_scale=inf: expected 1e-06 to 1,000,000"),
    ({"id_scale": math.nan}, "id_scale=nan: expected a number"),
    ({"pooling": "mean"}, "title_words=True with pooling='mean': .* pass pooling='sum', or"),
    ({"behavior_dropout": 1.0}, "behavior_dropout=1.0: expected 0 to 0.99"),
    ({"behavior_dropout": -0.1}, "behavior_dropout=-0.1: expected 0 to 0.99"),
    ({"behavior_dropout": math.nan}, "behavior_dropout=nan: expected a number"),
]
INTERESTS = [({"max_interests": 0}, "max_interests=0: expected 1 to 10,000")]
SASREC = [
    ({"layers": 0}, "layers=0: expected 1 to 10,000"),
    ({"dropout": 1.0}, "dropout=1.0: expected 0 to 0.99"),
    ({"dropout": math.nan}, "dropout=nan: expected a number"),
]
MIND = [
    ({"power": -1.0}, "power=-1.0: expected p >= 0"),
    ({"power": math.nan}, "power=nan: expected a number"),
]
REFUSED = {
    MINDConfig: VECTOR + MIND,
    YouTubeDNNConfig: VECTOR,
    MaxMFConfig: VECTOR + INTERESTS,
    ComiRecSAConfig: VECTOR + INTERESTS,
    ComiRecDRConfig: [
        *VECTOR,
        *INTERESTS,
        ({"iterations": 0}, "iterations=0: expected 1 to 10,000"),
    ],
    SASRecConfig: VECTOR + SASREC,
    WALSConfig: [
        ({"dim": 0}, "dim=0: expected 1 to 10,000"),
        ({"iterations": 0}, "iterations=0: expected 1 to 10,000"),
        ({"regularization": 0.0}, "regularization=0.0: expected 1e-06 to 1,000,000"),
        ({"regularization": math.nan}, "regularization=nan: expected a number"),
        ({"alpha": -1.0}, "alpha=-1.0: expected 1e-06 to 1,000,000"),
        ({"alpha": math.inf}, "alpha=inf: expected 1e-06 to 1,000,000"),
    ],
    ItemCFConfig: [
        ({"similarity": "jaccard"}, "similarity='jaccard': expected 'cosine' or 'bm25'"),
        ({"neighbors": 0}, "neighbors=0: expected 1 to 1,000,000"),
    ],
}


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [(config, *case) for config, cases in REFUSED.items() for case in cases],
)
def test_bad_configurations_are_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(config, **options)
