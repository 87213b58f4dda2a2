"""Mutants of evaluation: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

METRICS = "evaluation/metrics.py"
DIAGNOSTICS = "evaluation/diagnostics.py"
STATISTICS = "evaluation/statistics.py"
IN_METRICS = "evaluation/test_metrics.py::"
IN_DIAGNOSTICS = "evaluation/test_diagnostics.py::"
IN_STATISTICS = "evaluation/test_statistics.py::"

MUTANTS = [
    mutant(
        "inactive interests in the mean cosine", DIAGNOSTICS,
        "pairs = (active[:, :, None] & active[:, None, :])",
        "pairs = torch.ones_like(active[:, :, None] & active[:, None, :])",
        IN_DIAGNOSTICS + "test_interest_cosine_counts_active_pairs_only",
    ),
    mutant(
        "inactive interests in the routing entropy", DIAGNOSTICS,
        "entropy.sum(1) / active.sum(1)", "entropy.mean(1)",
        IN_DIAGNOSTICS + "test_routing_entropy_is_a_mean_over_active_interests_only",
    ),
    mutant(
        "NDCG with an ideal list longer than N", METRICS,
        "ideal[sizes.clamp(max=n)]", "ideal[sizes]",
        IN_METRICS + "test_metrics_by_hand",
    ),
    mutant(
        "Recall over N instead of the targets", METRICS,
        "= hits / sizes", "= hits / n",
        IN_METRICS + "test_metrics_by_hand",
        IN_METRICS + "test_metrics_equal_plain_python",
    ),
    mutant(
        "a claim that holds though its interval includes 0", STATISTICS,
        'return "holds here" if low > 0 else', 'return "holds here" if difference.value > 0 else',
        IN_STATISTICS + "test_more_holds_where_the_whole_interval_is_above_zero",
    ),
]  # fmt: skip
