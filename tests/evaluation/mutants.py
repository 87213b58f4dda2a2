"""Mutants of evaluation: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

EVALUATION = "evaluation/metrics.py"
IN_EVALUATION = "evaluation/test_metrics.py::"
IN_DIAGNOSTICS = "evaluation/test_diagnostic_rules.py::"

MUTANTS = [
    mutant(
        "inactive interests in the mean cosine", EVALUATION,
        "pairs = (active[:, :, None] & active[:, None, :])",
        "pairs = torch.ones_like(active[:, :, None] & active[:, None, :])",
        IN_EVALUATION + "test_interest_cosine_counts_active_pairs_only",
    ),
    mutant(
        "inactive interests in the routing entropy", EVALUATION,
        "entropy.sum(1) / active.sum(1)", "entropy.mean(1)",
        IN_DIAGNOSTICS + "test_routing_entropy_is_a_mean_over_active_interests_only",
    ),
    mutant(
        "inactive interests recover a planted one", EVALUATION,
        "rows, columns = active.nonzero(as_tuple=True)",
        "rows, columns = torch.ones_like(active).nonzero(as_tuple=True)",
        IN_DIAGNOSTICS + "test_an_inactive_interest_recovers_nothing",
    ),
    # Evaluation
    mutant(
        "NDCG with an ideal list longer than N", EVALUATION,
        "ideal[sizes.clamp(max=n)]", "ideal[sizes]",
        IN_EVALUATION + "test_metrics_by_hand",
    ),
    mutant(
        "Recall over N instead of the targets", EVALUATION,
        "= hits / sizes", "= hits / n",
        IN_EVALUATION + "test_metrics_by_hand",
        IN_EVALUATION + "test_metrics_equal_plain_python",
    ),
]  # fmt: skip
