"""Break each rule on purpose, in a copy of the package, and see the test that bears its name fail.

A test suite that passes says little before it is known to fail. Each mutant is one wrong reading
of the paper, or one mistake that public code makes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

ATTENTION = "layers/attention.py"
ASSIGNMENT = "online/simulation/assignment.py"
BUDGET = "online/serving/budget.py"
BUNDLE = "online/serving/bundle.py"
CHECKPOINTS = "training/checkpoints.py"
CLAIMS = "experiments/claims.py"
CLICK_MODEL = "online/simulation/clicks.py"
COMIREC = "models/comirec.py"
COUNTS = "models/counts.py"
DAYS = "online/refresh/days.py"
DIN = "online/ranking/din.py"
DISTRIBUTED = "training/distributed.py"
DIVERSITY = "retrieval/diversity.py"
EVALUATION = "evaluation/metrics.py"
EXPORT = "online/export.py"
EXPORTED = "online/exported.py"
FACTORIZATION = "models/factorization.py"
FOLLOW = "online/refresh/follow.py"
GATE = "online/refresh/gate.py"
GUARD = "online/serving/guard.py"
HASHING = "online/simulation/hashing.py"
LOSSES = "training/losses.py"
MAXMF = "models/maxmf.py"
MIND = "models/mind.py"
NIGHTLY = "online/refresh/nightly.py"
PLATFORM = "online/serving/platform.py"
POOLING = "layers/pooling.py"
RANKED_LISTS = "online/ranking/lists.py"
RANKER = "online/ranking/ranker.py"
RANKING = "online/ranking/training.py"
RANKING_METRICS = "online/ranking/metrics.py"
RECORDED_TABLES = "lessons/n05_experiments/recorded_tables.py"
REGISTRY = "online/refresh/registry.py"
REPLAY = "online/simulation/replay.py"
RERANKED = "online/ranking/reranked.py"
RESULTS = "experiments/results.py"
RETRIEVAL = "retrieval/scores.py"
INDEX = "retrieval/index.py"
INDEX_FILES = "retrieval/files.py"
FAISS = "retrieval/faiss.py"
ROUTING = "layers/routing.py"
RUN_CACHE = "experiments/cache.py"
SAMPLING = "training/negatives.py"
SASREC = "models/sasrec.py"
SEQUENTIAL = "online/simulation/sequential.py"
SIMULATED = "online/simulation/analysis.py"
SIMULATED_WEEK = "online/simulation/week.py"
SPLITS = "data/splits.py"
STAGES = "online/serving/stages.py"
STEPS = "training/step.py"
STORE = "online/serving/store.py"
TRAINING = "training/fitting.py"
TRIALS = "experiments/trial.py"
VECTOR = "models/vector.py"
WARM = "online/refresh/warm.py"
WORDS = "data/words.py"
YOUTUBE = "models/youtube_dnn.py"

# What stands in the folder of the mutant and is loaded by pytest there.
WITNESS = """
import json
import pathlib
import sys

from hypothesis import Phase, settings

failed = {}


def pytest_configure():
    # The first failing example will do: no search for the simplest one, nor for a second failure.
    settings.register_profile(
        "mutants",
        settings.get_profile("mindlib"),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    settings.load_profile("mutants")


def pytest_exception_interact(node, call, report):
    if report.when == "call":
        failed[report.nodeid] = call.excinfo.typename


def pytest_sessionfinish():
    package = sys.modules.get("mindlib")
    facts = {"package": package and package.__file__, "failed": failed}
    pathlib.Path("facts.json").write_text(json.dumps(facts), encoding="utf-8")
"""


# Most of what a run of pytest takes is spent on imports that are the same for every mutant. (Not
# mindlib, which is another one each time.)
HOST = """
import json
import os
import signal
import sys

import beartype
import hypothesis
import polars
import pytest
import scipy.stats
import torch

for line in sys.stdin:
    folder, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        os.chdir(folder)
        sys.path.insert(0, folder)  # before the installed package
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = pytest.main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Mutant:
    """One rule broken.

    Attributes:
        rule: what the mutant does wrong.
        module: the file of the package.
        find: the source to replace; stands in the file exactly once.
        replacement: the wrong source.
        killers: the tests that must all fail, below tests/.
    """

    rule: str
    module: str
    find: str
    replacement: str
    killers: tuple[str, ...]

    def mutate(self, package: Path) -> None:
        path = package / self.module
        source = path.read_text(encoding="utf-8")
        found = source.count(self.find)
        assert found == 1, f"{self.module} has {found} times, instead of once: {self.find!r}"
        path.write_text(source.replace(self.find, self.replacement), encoding="utf-8")


def mutant(rule: str, module: str, find: str, replacement: str, *killers: str) -> Mutant:
    return Mutant(rule, module, find, replacement, killers)


IN_ROUTING = "layers/test_routing.py::"
IN_ROUTING_RULES = "layers/test_routing_rules.py::"
IN_FARTHEST = "layers/test_farthest.py::"
IN_FOUND = "layers/test_routing_found.py::"
IN_ATTENTION = "layers/test_attention.py::"
IN_POOLING = "layers/test_pooling.py::"
IN_POOLING_RULES = "layers/test_pooling_rules.py::"
IN_SUMS = "layers/test_pooled_sums.py::"
IN_WORDS = "data/test_words.py::"
IN_VECTOR = "models/test_vector.py::"
IN_STEPS = "training/test_step.py::"
IN_MODELS = "models/test_models.py::"
IN_COMPARED = "models/test_compared.py::"
IN_COMIREC = "models/test_comirec.py::"
IN_MAXMF = "models/test_maxmf.py::"
IN_SASREC = "models/test_sasrec.py::"
IN_FACTORIZATION = "models/test_factorization.py::"
IN_LOSSES = "training/test_losses.py::"
IN_DIVERSITY = "retrieval/test_diversity.py::"
IN_MIND_RULES = "models/test_mind_rules.py::"
IN_TRAINING = "training/test_fitting.py::"
IN_TRAINING_RULES = "training/test_training_rules.py::"
IN_CHECKPOINTS = "training/test_checkpoints.py::"
IN_SAMPLING = "training/test_negatives.py::"
IN_RETRIEVAL = "retrieval/test_scores.py::"
IN_INDEX = "retrieval/test_index.py::"
IN_INDEX_FILES = "retrieval/test_files.py::"
IN_FAISS = "retrieval/test_faiss.py::"
IN_EVALUATION = "evaluation/test_metrics.py::"
IN_DIAGNOSTICS = "evaluation/test_diagnostic_rules.py::"
IN_SPLITS = "data/test_splits.py::"
IN_DIN = "online/ranking/test_din.py::"
IN_RANKED_LISTS = "online/ranking/test_lists.py::"
IN_RANKER = "online/ranking/test_ranker.py::"
IN_RANKING = "online/ranking/test_ranking_training.py::"
IN_RANKING_METRICS = "online/ranking/test_metrics.py::"
IN_EXPORT = "online/test_export.py::"
IN_EXPORTED = "online/test_exported.py::"
IN_APP = "online/serving/test_app.py::"
IN_BUDGET = "online/serving/test_budget.py::"
IN_BUNDLE = "online/serving/test_bundle.py::"
IN_PLATFORM = "online/serving/test_platform.py::"
IN_STAGES = "online/serving/test_stages.py::"
IN_STORE = "online/serving/test_store.py::"
IN_DAYS = "online/refresh/test_days.py::"
IN_FOLLOW = "online/refresh/test_follow.py::"
IN_GATE = "online/refresh/test_gate.py::"
IN_NIGHTLY = "online/refresh/test_nightly.py::"
IN_REGISTRY = "online/refresh/test_registry.py::"
IN_WARM = "online/refresh/test_warm.py::"
IN_ASSIGNMENT = "online/simulation/test_assignment.py::"
IN_CLICK_MODEL = "online/simulation/test_clicks.py::"
IN_SIMULATED = "online/simulation/test_analysis.py::"
IN_SEQUENTIAL = "online/simulation/test_sequential.py::"
IN_REPLAY = "online/simulation/test_replay.py::"
IN_SIMULATED_WEEK = "online/simulation/test_week.py::"
IN_RUN_CACHE = "experiments/test_cache.py::"
IN_TRIALS = "experiments/test_trial.py::"
IN_RESULTS = "experiments/test_results.py::"
IN_CLAIMS = "experiments/test_claims.py::"
IN_RECORDED_TABLES = "lessons/n05_experiments/test_recorded_tables.py::"

FARTHEST = IN_FARTHEST + "test_the_logits_are_cosines_to_behaviors_that_lie_far_apart"
FOUND = IN_FOUND + "test_it_equals_its_rounds_in_plain_python"
SUMS = IN_SUMS + "test_an_item_is_the_sum_of_what_is_known_and_shared"
DECIDED = IN_VECTOR + "test_what_goes_into_which_interest_is_decided_before_anything_is_dropped"
ALGORITHM_1 = IN_ROUTING + "test_routing_equals_algorithm_1"
K_TABLE = IN_ROUTING + "test_number_of_interests_for_1_to_1000_behaviors"
K_BY_HAND = IN_ROUTING + "test_number_of_interests_by_hand"
LAST = IN_ROUTING + "test_gradient_of_the_last_iteration_equals_algorithm_1_with_constant_coupling"
READINGS = IN_ROUTING_RULES + "test_the_readings_are_the_documented_ones_unless_asked_otherwise"
REPRODUCIBLE = IN_MODELS + "test_evaluation_is_reproducible_whatever_else_is_in_the_batch"
REDRAWS = IN_MODELS + "test_training_redraws_the_logits_and_evaluation_does_not"
DEVIATION = IN_MODELS + "test_training_logits_have_the_deviation_sigma"
ATTENDED = IN_ATTENTION + "test_inactive_interests_take_no_part_in_attention"
PADDING_IN_MIND = IN_TRAINING + "test_every_parameter_is_trained"
PADDING_ALONE = IN_POOLING_RULES + "test_padding_without_features_is_zero_and_is_never_trained"
LOGQ = IN_TRAINING + "test_sampled_softmax_with_logq_converges_to_the_full_softmax"
LOGQ_IN_STEP = (
    IN_TRAINING_RULES + "test_a_training_step_corrects_for_the_proposal_unless_told_not_to"
)
BEST_EPOCH = IN_TRAINING_RULES + "test_the_weights_of_the_best_epoch_are_kept_and_not_the_last_ones"
INTERRUPTED = IN_CHECKPOINTS + "test_interrupted_anywhere_training_ends_with_the_same_weights"
KILLED = (
    "training/test_checkpoints_killed.py::"
    "test_killed_at_each_event_training_goes_on_and_ends_with_the_same_weights"
)
MIXED = IN_SAMPLING + "test_drawn_and_in_batch_negatives_converge_to_the_full_softmax"
MIXED_IN_STEP = (
    IN_TRAINING_RULES
    + "test_a_training_step_takes_the_targets_of_the_batch_for_negatives_when_told_to"
)
TWO_AS_ONE = "training/test_distributed.py::test_two_processes_get_the_weights_of_one"
PATIENCE = IN_CHECKPOINTS + "test_patience_and_the_best_weights_survive_an_interruption"
LEAVE_LAST_OUT = IN_SPLITS + "test_no_leakage_leave_last_out"

MUTANTS = [
    # §3.3: routing
    mutant(
        "softmax over behaviours instead of interests", ROUTING,
        'floored.softmax(1 if softmax_over == "interests" else 2)', "floored.softmax(2)",
        ALGORITHM_1, IN_ROUTING + "test_coupling_sums_to_one_over_interests",
    ),
    mutant(
        "softmax over behaviours by default", ROUTING,
        'softmax_over: SoftmaxOver = "interests"', 'softmax_over: SoftmaxOver = "behaviors"',
        ALGORITHM_1, READINGS,
    ),
    mutant(
        "absent slots take part in the softmax", ROUTING,
        "floored = logits.masked_fill(absent, torch.finfo(logits.dtype).min)", "floored = logits",
        ALGORITHM_1, IN_ROUTING + "test_inactive_interests_take_no_part_in_routing",
        IN_ROUTING + "test_padding_length_changes_nothing",
    ),
    mutant(
        "absent slots keep a weight after the softmax", ROUTING,
        "else 2).masked_fill(absent, 0)", "else 2)",
        IN_ROUTING + "test_coupling_sums_to_one_over_interests",
        IN_ROUTING + "test_inactive_interests_take_no_part_in_routing",
    ),
    mutant(
        "logits kept from call to call", ROUTING,
        "            weights, logits = route(behaviors, s, mask, active, logits, config)",
        "            kept = getattr(self, 'kept', logits)\n"
        "            logits = kept if kept.shape == logits.shape else logits\n"
        "            weights, logits = route(behaviors, s, mask, active, logits, config)\n"
        "            self.kept = logits.detach()",
        IN_ROUTING + "test_no_state_between_calls", REPRODUCIBLE,
    ),
    mutant(
        "logits replaced instead of accumulated", ROUTING,
        "torch.baddbmm(logits, said, heard.transpose(1, 2), alpha=config.scale)",
        "config.scale * torch.bmm(said, heard.transpose(1, 2))",
        ALGORITHM_1,
    ),
    mutant(
        "agreement with S transposed", ROUTING,
        "else interests @ bilinear_map\n", "else interests @ bilinear_map.T\n",
        ALGORITHM_1,
    ),
    mutant(
        "one iteration too many", ROUTING,
        "range(config.iterations - 1)", "range(config.iterations)",
        ALGORITHM_1,
    ),
    mutant(
        "squash missing", ROUTING,
        "return z * (torch.sqrt(square + TINY) / (1 + square))", "return z",
        IN_ROUTING + "test_squash_keeps_direction_and_bounds_length",
    ),
    mutant(
        "squash missing at the end of routing", ROUTING,
        "vectors = capsules_of(weights, drawn, s, config.capsule)",
        "vectors = weights @ drawn @ s.T",
        ALGORITHM_1,
    ),
    mutant(
        "squash missing between the iterations", ROUTING,
        "interests = capsules_of(weights, behaviors, bilinear_map, config.capsule)",
        "interests = weights @ behaviors @ bilinear_map.T",
        ALGORITHM_1,
    ),
    mutant(
        "gradient through all iterations in the paper's form", ROUTING,
        '"gradient": "last"', '"gradient": "all"',
        READINGS, IN_ROUTING_RULES + "test_no_gradient_reaches_the_logits_of_the_paper",
    ),
    mutant(
        "gradient through all iterations always", ROUTING,
        'torch.is_grad_enabled() and config.gradient == "all"', "torch.is_grad_enabled()",
        LAST, IN_ROUTING_RULES + "test_no_gradient_reaches_the_logits_of_the_paper",
    ),
    mutant(
        "gradient through the last iteration always", ROUTING,
        'torch.is_grad_enabled() and config.gradient == "all"', "False",
        IN_ROUTING + "test_gradient_through_all_iterations_equals_algorithm_1",
    ),
    mutant(
        "zero start in evaluation", ROUTING,
        "return sigma * torch.sqrt(", "return 0 * torch.sqrt(",
        IN_ROUTING + "test_evaluation_logits_depend_on_the_item_and_not_on_its_place",
        IN_MIND_RULES + "test_the_interests_of_a_user_differ_in_training_and_in_evaluation",
    ),
    mutant(
        "zero start in training", MIND,
        "logits = routing.sigma * torch.randn(", "logits = 0 * torch.randn(",
        REDRAWS, DEVIATION,
        IN_MIND_RULES + "test_the_interests_of_a_user_differ_in_training_and_in_evaluation",
    ),
    mutant(
        "sigma ignored in training", MIND,
        "logits = routing.sigma * torch.randn(", "logits = torch.randn(",
        DEVIATION,
    ),
    mutant(
        "sigma ignored in evaluation", ROUTING,
        "return sigma * torch.sqrt(", "return torch.sqrt(",
        IN_ROUTING + "test_evaluation_logits_are_standard_gaussian_and_independent",
    ),
    mutant(
        "logits redrawn in evaluation", MIND,
        "seed=self.config.evaluation_seed,", "seed=int(torch.randint(1 << 30, ())),",
        REPRODUCIBLE, REDRAWS,
    ),
    mutant(
        "logits not redrawn in training", MIND,
        "if generator is not None:", "if False:",
        REDRAWS,
    ),
    mutant(
        "evaluation logits by place instead of by item", ROUTING,
        "items[:, None, :] * max_interests",
        "torch.arange(items.shape[1]).expand_as(items)[:, None, :] * max_interests",
        IN_ROUTING + "test_evaluation_logits_depend_on_the_item_and_not_on_its_place",
        IN_MODELS + "test_the_order_of_behaviors_changes_nothing",
    ),
    # The form that was found: its start, its routing
    mutant(
        "gradient through the choice of seeds", ROUTING,
        "starts = torch.where(different, unit.gather(1, chosen),",
        "soft = (-(unit @ unit.transpose(1, 2)).sum(2)).softmax(1)[:, None] @ unit\n"
        "    starts = torch.where(different, unit.gather(1, chosen) + soft - soft.detach(),",
        IN_FARTHEST + "test_the_gradient_runs_through_the_cosines_and_not_through_the_choice",
    ),
    mutant(
        "no gradient through the seeds", ROUTING,
        "starts = torch.where(different, unit.gather(1, chosen),",
        "starts = torch.where(different, unit.gather(1, chosen).detach(),",
        IN_FARTHEST + "test_the_gradient_runs_through_the_cosines_and_not_through_the_choice",
        IN_FOUND + "test_its_gradient_runs_through_all_rounds_and_the_start",
    ),
    mutant(
        "the first seed is the first behaviour", ROUTING,
        "[_first_least(likeness)], [mask.any(1)]", "[mask.int().argmax(1)], [mask.any(1)]",
        FARTHEST, IN_FARTHEST + "test_seeds_by_hand",
        IN_FARTHEST + "test_the_order_of_behaviors_moves_the_columns_and_nothing_else",
    ),
    mutant(
        "the first seed is the behaviour most like all", ROUTING,
        "[_first_least(likeness)], [mask.any(1)]",
        "[_first_least((-likeness).masked_fill(~mask, torch.inf))], [mask.any(1)]",
        FARTHEST, IN_FARTHEST + "test_seeds_by_hand",
    ),
    mutant(
        "seeds far from the last seed only", ROUTING,
        "nearest = torch.maximum(nearest, cosine.gather(1, last).squeeze(1))",
        "nearest = cosine.gather(1, last).squeeze(1).masked_fill(~mask, torch.inf)",
        FARTHEST,
    ),
    mutant(
        "padding among the seeds", ROUTING,
        "torch.full_like(likeness, -torch.inf).masked_fill(~mask, torch.inf)",
        "torch.full_like(likeness, -torch.inf)",
        IN_FARTHEST + "test_padding_and_other_users_never_matter",
    ),
    mutant(
        "seeds repeated where behaviours are few", ROUTING,
        "new.append(nearest.amin(1) < 1 - SAME)", "new.append(nearest.amin(1) < 2)",
        IN_FARTHEST + "test_interests_without_a_behavior_of_their_own_start_at_the_mean",
    ),
    mutant(
        "rounding chooses among equal behaviours", ROUTING,
        "return (values <= values.amin(1, keepdim=True) + SAME).int().argmax(1)",
        "values = values + 1e-6 * torch.rand_like(values)\n    return values.argmin(1)",
        IN_FARTHEST + "test_of_equal_behaviors_the_first_is_the_seed",
    ),
    mutant(
        "the start scaled by nothing", ROUTING,
        "return scale * (starts @ unit.transpose(1, 2))", "return starts @ unit.transpose(1, 2)",
        FARTHEST, FOUND,
    ),
    mutant(
        "noise in the start of the found form", MIND,
        'if routing.start == "farthest":', "if False:",
        IN_VECTOR + "test_at_rate_0_nothing_is_drawn",
        IN_VECTOR + "test_without_dropout_training_and_evaluation_give_the_same_vectors",
    ),
    mutant(
        "a mean capsule that is a sum", ROUTING,
        "return sums / weights.sum(2, keepdim=True).clamp(min=LEAST_WEIGHT)", "return sums",
        FOUND, IN_FOUND + "test_one_interest_is_the_map_of_the_mean",
        IN_FOUND + "test_an_interest_is_a_weighted_mean_of_what_the_map_makes_of_behaviors",
        IN_VECTOR + "test_mind_1_with_the_identity_and_a_quiet_head_is_youtube_dnn",
    ),
    mutant(
        "a mean over all behaviours", ROUTING,
        "return sums / weights.sum(2, keepdim=True).clamp(min=LEAST_WEIGHT)",
        "return sums / weights.shape[2]",
        FOUND, IN_FOUND + "test_one_interest_is_the_map_of_the_mean",
    ),
    mutant(
        "cosine agreement without the behaviours' lengths", ROUTING,
        "heard = F.normalize(behaviors @ bilinear_map.T, dim=2) if directions",
        "heard = behaviors @ bilinear_map.T if directions",
        FOUND, IN_FOUND + "test_the_coupling_does_not_depend_on_the_length_of_the_embeddings",
    ),
    mutant(
        "cosine agreement without the interests' lengths", ROUTING,
        "said = F.normalize(interests, dim=2) if directions",
        "said = interests if directions",
        FOUND, IN_FOUND + "test_the_coupling_does_not_depend_on_the_length_of_the_embeddings",
    ),
    mutant(
        "cosine agreement without the map", ROUTING,
        "heard = F.normalize(behaviors @ bilinear_map.T, dim=2) if directions",
        "heard = F.normalize(behaviors, dim=2) if directions",
        FOUND,
    ),
    mutant(
        "agreement without its scale", ROUTING,
        "heard.transpose(1, 2), alpha=config.scale)", "heard.transpose(1, 2))",
        FOUND,
    ),
    mutant(
        "coupling decided on dropped behaviours", MIND,
        "self.routing(behaviors, history.mask, logits, flowing=flowing)",
        "self.routing(flowing, history.mask, logits)",
        DECIDED,
    ),
    mutant(
        "what flows ignored", ROUTING,
        "drawn = behaviors if flowing is None else flowing", "drawn = behaviors",
        IN_FOUND + "test_what_flows_is_not_what_decides",
        IN_VECTOR + "test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode",
    ),
    mutant(
        "self-attention on dropped behaviours", COMIREC,
        "        placed = behaviors\n",
        "        placed = behaviors = self.dropped(behaviors, generator)\n",
        DECIDED,
    ),
    mutant(
        "dynamic routing of dropped behaviours", COMIREC,
        "        votes = torch.einsum(\"bld,lked->blke\", behaviors, self.maps[:length])\n",
        "        behaviors = self.dropped(behaviors, generator)\n"
        "        votes = torch.einsum(\"bld,lked->blke\", behaviors, self.maps[:length])\n",
        DECIDED,
    ),
    mutant(
        "dropout of behaviours in evaluation", VECTOR,
        "        if generator is None or not rate:\n            return behaviors\n",
        "        if not rate:\n            return behaviors\n"
        "        generator = generator or torch.Generator()\n",
        IN_VECTOR + "test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode",
        IN_VECTOR + "test_a_value_is_dropped_or_grows_by_what_the_others_lose",
    ),
    mutant(
        "dropout that shrinks", VECTOR,
        "((luck >= rate) / (1 - rate))", "(luck >= rate)",
        IN_VECTOR + "test_in_the_mean_over_many_draws_nothing_is_lost",
        IN_VECTOR + "test_a_value_is_dropped_or_grows_by_what_the_others_lose",
    ),
    mutant(
        "dropout of behaviours from the global generator", VECTOR,
        "luck = torch.rand(behaviors.shape, generator=generator, device=generator.device)",
        "luck = torch.rand(behaviors.shape)",
        IN_VECTOR + "test_what_is_dropped_comes_from_the_generator_alone",
    ),
    mutant(
        "luck used up where nothing is dropped", VECTOR,
        "if generator is None or not rate:", "if generator is None:",
        IN_VECTOR + "test_at_rate_0_nothing_is_drawn",
    ),
    mutant(
        "YouTube DNN without dropout", YOUTUBE,
        "mean_of_behaviors(self.dropped(behaviors, generator), history)",
        "mean_of_behaviors(behaviors, history)",
        IN_VECTOR + "test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode",
    ),
    mutant(
        "residual missing", VECTOR,
        'return vectors + heard if self.kind == "residual" else heard', "return heard",
        IN_VECTOR + "test_a_residual_head_starts_near_the_identity",
        IN_VECTOR + "test_a_residual_head_adds_to_what_the_model_without_head_says",
    ),
    mutant(
        "a residual head that starts loud", VECTOR,
        "last.weight.mul_(QUIET_RESIDUAL)", "last.weight.mul_(1)",
        IN_VECTOR + "test_a_residual_head_starts_near_the_identity",
    ),
    mutant(
        "words not shared out by the root of their number", POOLING,
        "shares.append(np.broadcast_to(count**-0.5, column.shape))",
        "shares.append(np.broadcast_to(count**0.0, column.shape))",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "words shared out by their number", POOLING,
        "shares.append(np.broadcast_to(count**-0.5, column.shape))",
        "shares.append(np.broadcast_to(count**-1.0, column.shape))",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "a sum without its shares", POOLING,
        'per_sample_weights=self.shares[items] if self.pooling == "sum" else None',
        "per_sample_weights=None",
        SUMS,
    ),
    mutant(
        "id_scale ignored", POOLING,
        "        weight[: num_items + 1] *= id_scale\n", "",
        IN_SUMS + "test_ids_start_as_quiet_as_they_are_told_to",
        IN_VECTOR + "test_a_model_is_built_as_its_configuration_says",
    ),
    mutant(
        "values of one item kept", POOLING,
        "kept = counts > 1", "kept = counts > 0",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "a word twice in one title counted as two titles", POOLING,
        "first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]", "pass",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "values of one item left out of a mean", POOLING,
        '_on_several_items(column) if pooling == "sum" else column', "_on_several_items(column)",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
    ),
    mutant(
        "title words unasked for", VECTOR,
        "title_words(log.titles) if config.title_words and log.titles else None",
        'title_words(log.titles) if config.pooling == "sum" and log.titles else None',
        IN_VECTOR + "test_a_model_is_built_as_its_configuration_says",
    ),
    mutant(
        "words of one title kept", WORDS,
        ".filter(pl.len().over(\"word\") >= min_items)", ".filter(pl.len() >= min_items)",
        IN_WORDS + "test_words_of_too_few_titles_are_left_out",
        IN_WORDS + "test_titles_that_are_ids_have_no_words",
    ),
    mutant(
        "words in the case that they have", WORDS,
        ".str.to_lowercase()", "",
        IN_WORDS + "test_case_does_not_matter",
    ),
    mutant(
        "accents cut words in two", WORDS,
        '.str.normalize("NFKC")', "",
        IN_WORDS + "test_letters_of_all_scripts_make_words_in_whatever_form_they_are_stored",
    ),
    mutant(
        "the literal form without its routing", MIND,
        '{"routing": RoutingConfig.paper(), "power": 2.0}', '{"power": 2.0}',
        IN_VECTOR + "test_minds_presets_field_by_field",
    ),
    # The other losses, in a step
    mutant(
        "the best-interest loss ignored", STEPS,
        'if config.loss == "best":', "if False:",
        IN_STEPS + "test_the_best_interest_loss_is_taken_when_asked_for",
    ),
    mutant(
        "hardness ignored", STEPS,
        "elif config.hardness:", "elif False:",
        IN_STEPS + "test_hard_negatives_are_those_of_the_interest_that_the_label_chose",
    ),
    mutant(
        "the penalty on routing ignored", STEPS,
        "loss = loss + config.routing_penalty * penalty", "loss = loss + 0 * penalty",
        IN_STEPS + "test_the_penalty_is_added_to_the_loss_and_learnt_from",
    ),
    mutant(
        "the penalty on routing is a constant", STEPS,
        "loss = loss + config.routing_penalty * penalty",
        "loss = loss + config.routing_penalty * penalty.detach()",
        IN_STEPS + "test_the_penalty_is_added_to_the_loss_and_learnt_from",
    ),
    # Eq. 9: how many interests
    mutant(
        "number of interests rounded up", ROUTING,
        "(lengths[..., None] >= powers)", "(lengths[..., None] > powers // 2)",
        K_TABLE, K_BY_HAND, ALGORITHM_1,
    ),
    mutant(
        "number of interests by the natural logarithm", ROUTING,
        "(lengths[..., None] >= powers)", "(lengths[..., None] >= math.e ** powers.log2())",
        K_TABLE, K_BY_HAND,
    ),
    mutant(
        "number of interests not at least one", ROUTING,
        ">= powers).sum(-1).clamp(min=1)", ">= powers).sum(-1)",
        K_TABLE, K_BY_HAND,
    ),
    mutant(
        "number of interests not at most K", ROUTING,
        "min(max_interests, 62)", "62",
        K_TABLE, K_BY_HAND,
    ),
    mutant(
        "every user has K interests", ROUTING,
        "if not adaptive:", "if True:",
        K_TABLE, IN_MODELS + "test_inactive_interests_are_zero_after_the_head",
    ),
    mutant(
        "every user has K interests by default", ROUTING,
        "adaptive: bool = True", "adaptive: bool = False",
        READINGS, ALGORITHM_1,
    ),
    # Interests that a user does not have
    mutant(
        "inactive interests given a vector by the head", MIND,
        "vectors = vectors * capsules.active[:, :, None]", "vectors = vectors * 1",
        IN_MODELS + "test_inactive_interests_are_zero_after_the_head",
    ),
    mutant(
        "inactive interests searched at serving", RETRIEVAL,
        "interests = torch.where(active[:, :, None], interests, interests[:, :1])", "pass",
        IN_RETRIEVAL + "test_the_score_is_the_best_active_interest",
    ),
    mutant(
        "inactive interests attended", ATTENTION,
        "sharpened.masked_fill(~active, -torch.inf).softmax(1)", "sharpened.softmax(1)",
        ATTENDED,
    ),
    mutant(
        "inactive interests masked after the softmax", ATTENTION,
        "sharpened.masked_fill(~active, -torch.inf).softmax(1)", "sharpened.softmax(1) * active",
        ATTENDED,
    ),
    mutant(
        "inactive interests attended by the argmax", ATTENTION,
        "scores.masked_fill(~active, -torch.inf).argmax(1)", "scores.argmax(1)",
        ATTENDED,
    ),
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
    # §3.4: attention
    mutant(
        "power ignored", ATTENTION,
        "sharpened = scores * power if", "sharpened = scores if",
        IN_ATTENTION + "test_weights_follow_the_formula_and_grow_with_the_score",
        IN_ATTENTION + "test_power_zero_is_the_mean_of_active_interests",
    ),
    mutant(
        "power of the configuration ignored", MIND,
        "labels, self.config.power, self", "labels, 1.0, self",
        IN_MIND_RULES + "test_training_sees_the_user_through_the_power_of_the_configuration",
    ),
    mutant(
        "power divides the scores", ATTENTION,
        "sharpened = scores * power if", "sharpened = scores / power if",
        IN_ATTENTION + "test_weights_follow_the_formula_and_grow_with_the_score",
        IN_ATTENTION + "test_power_zero_is_the_mean_of_active_interests",
    ),
    mutant(
        "scores divided by the root of d", ATTENTION,
        "scores = (interests @ label[:, :, None]).squeeze(2)",
        "scores = (interests @ label[:, :, None]).squeeze(2) / label.shape[1] ** 0.5",
        IN_ATTENTION + "test_attention_is_the_mixture_by_the_scores_themselves",
    ),
    mutant(
        "infinite power multiplied instead of the argmax", ATTENTION,
        "if power == math.inf:", "if False:",
        IN_ATTENTION
        + "test_power_infinity_is_the_best_active_interest_for_scores_of_any_sign",
    ),
    mutant(
        "argmax of the power", ATTENTION,
        "best = scores.masked_fill", "best = scores.pow(100).masked_fill",
        IN_ATTENTION
        + "test_power_infinity_is_the_best_active_interest_for_scores_of_any_sign",
    ),
    mutant(
        "argmax blind to the sign", ATTENTION,
        "best = scores.masked_fill", "best = scores.abs().masked_fill",
        IN_ATTENTION
        + "test_power_infinity_is_the_best_active_interest_for_scores_of_any_sign",
    ),
    mutant(
        "literal power by default", ATTENTION,
        'form: PowerForm = "scaled",\n) -> Float[Tensor, "batch interests"]:',
        'form: PowerForm = "literal",\n) -> Float[Tensor, "batch interests"]:',
        IN_ATTENTION + "test_the_literal_power_is_blind_to_the_sign",
        IN_ATTENTION + "test_the_literal_power_is_nan_for_a_negative_score_and_a_fractional_power",
    ),
    mutant(
        "literal power by default in attention over vectors", ATTENTION,
        'form: PowerForm = "scaled",\n) -> Float[Tensor, "batch dim"]:',
        'form: PowerForm = "literal",\n) -> Float[Tensor, "batch dim"]:',
        IN_ATTENTION + "test_a_large_power_approaches_the_argmax",
    ),
    mutant(
        "literal power by default in MIND", MIND,
        'power_form: PowerForm = "scaled"', 'power_form: PowerForm = "literal"',
        IN_MIND_RULES + "test_training_sees_the_user_through_the_power_of_the_configuration",
    ),
    # §3.5: training
    mutant(
        "logQ missing", SAMPLING,
        "is None else -log_expected", "is None else 0 * log_expected",
        LOGQ,
    ),
    mutant(
        "logQ with the wrong sign", SAMPLING,
        "is None else -log_expected", "is None else log_expected",
        LOGQ,
    ),
    mutant(
        "logQ not passed on by training", STEPS,
        "log_expected if config.logq else None)", "None)",
        LOGQ_IN_STEP,
    ),
    mutant(
        "logQ off by default", STEPS,
        "logq: bool = True", "logq: bool = False",
        LOGQ_IN_STEP,
    ),
    mutant(
        "accidental hits kept", SAMPLING,
        "logits[:, 1:].masked_fill_(hits, -torch.inf)", "pass",
        IN_TRAINING + "test_an_accidental_hit_is_not_counted",
        IN_TRAINING + "test_only_hits_among_the_negatives_leave_a_loss_of_zero",
    ),
    mutant(
        "the last epoch kept instead of the best", TRAINING,
        "model.load_state_dict(state.best_weights)", "pass",
        BEST_EPOCH,
    ),
    mutant(
        "the weights of the best epoch trained on", TRAINING,
        "state.best_weights = copy.deepcopy(model.state_dict())",
        "state.best_weights = model.state_dict()",
        BEST_EPOCH,
    ),
    mutant(
        "in-batch negatives corrected as if they were drawn", SAMPLING,
        "(len(drawn) * q + (len(in_batch) - 1) * p).log()", "(len(ids) * q).log()",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "in-batch negatives corrected by their own source alone", SAMPLING,
        "(len(drawn) * q + (len(in_batch) - 1) * p).log()",
        "torch.cat([(len(drawn) * q)[: len(drawn)],\n"
        "            ((len(in_batch) - 1) * p)[len(drawn) :].clamp(min=1)]).log()",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "in-batch negatives not corrected", SAMPLING,
        "(len(drawn) * q + (len(in_batch) - 1) * p).log()", "0 * q",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "accidental hits kept in the batch, the own place apart", SAMPLING,
        "    hits = target_ids[:, None] == negative_ids\n",
        "    hits = target_ids[:, None] == negative_ids\n"
        "    if torch.equal(negative_ids[-len(target_ids) :], target_ids):\n"
        "        hits[:, -len(target_ids) :] = torch.eye(len(target_ids), dtype=torch.bool)\n",
        IN_SAMPLING + "test_in_a_batch_every_occurrence_of_a_users_target_is_an_accidental_hit",
        MIXED_IN_STEP,
    ),
    mutant(
        "a basket counts as many pairs as it has items", SAMPLING,
        "np.repeat(1 / sizes, sizes) / len(sizes)", "np.full(sizes.sum(), 1 / sizes.sum())",
        IN_SAMPLING + "test_a_basket_counts_as_one_pair",
    ),
    mutant(
        "in-batch negatives by default", STEPS,
        "in_batch: bool = False", "in_batch: bool = True",
        LOGQ_IN_STEP,
    ),
    # Several processes
    mutant(
        "gradients of the item table not exchanged", DISTRIBUTED,
        "table.grad = self._sum_rows(table)", "pass",
        TWO_AS_ONE,
    ),
    mutant(
        "a part of a batch weighs as much as the whole", STEPS,
        "(loss * (len(batch.targets) / len(batch.together))).backward()",
        "(loss / 2).backward()",
        TWO_AS_ONE,
    ),
    mutant(
        "in-batch negatives of the own part only", STEPS,
        "Batch(cases.histories.select(part), workers.part(together), together)",
        "Batch(cases.histories.select(part), *[workers.part(together)] * 2)",
        TWO_AS_ONE,
    ),
    # Checkpoints
    mutant(
        "the generator not restored", CHECKPOINTS,
        'generator.set_state(tensors["generator"].cpu())', "pass",
        INTERRUPTED,
    ),
    mutant(
        "the optimisers not restored", CHECKPOINTS,
        'optimizer.load_state_dict({"state": state, "param_groups": groups})', "pass",
        INTERRUPTED,
    ),
    mutant(
        "the step counts of the optimisers not restored", CHECKPOINTS,
        "state.setdefault(int(index), {})[key] = value",
        'state.setdefault(int(index), {})[key] = value * (key != "step")',
        INTERRUPTED,
    ),
    mutant(
        "the schedule begun anew", TRAINING,
        "done=len(state.log) * steps", "done=0",
        INTERRUPTED,
    ),
    mutant(
        "the last weights taken for the best after an interruption", TRAINING,
        "if state.best_epoch not in (0, epoch):", "if False:",
        PATIENCE,
    ),
    mutant(
        "patience begun anew after an interruption", TRAINING,
        'state.best_epoch = facts["best_epoch"]', "state.best_epoch = epoch",
        PATIENCE,
    ),
    mutant(
        "a checkpoint written under its final name", CHECKPOINTS,
        "unfinished = workshop / self.path(epoch).name", "unfinished = self.path(epoch)",
        KILLED,
    ),
    mutant(
        "earlier checkpoints deleted before the next is written", TRAINING,
        "    folder.write(epoch, Checkpoint(tensors, facts))\n",
        "    folder.keep(())\n    folder.write(epoch, Checkpoint(tensors, facts))\n",
        KILLED,
    ),
    mutant(
        "a checkpoint's content not checked", CHECKPOINTS,
        'if found != metadata["sha256"]:', "if False:",
        IN_CHECKPOINTS + "test_a_flipped_bit_is_refused",
        IN_CHECKPOINTS + "test_a_damaged_file_is_named_before_anything_is_trained",
    ),
    # §3.2: embedding and pooling
    mutant(
        "padding row trained", POOLING,
        "F.embedding(items, self.weight, padding_idx=0, sparse=True)",
        "F.embedding(items, self.weight, sparse=True)",
        PADDING_ALONE,
    ),
    mutant(
        "padding row not zero", POOLING,
        "weight[0] = 0", "pass",
        PADDING_ALONE, PADDING_IN_MIND,
    ),
    mutant(
        "unknown features averaged in", POOLING,
        "mode=self.pooling,\n            padding_idx=0,", "mode=self.pooling,",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
        IN_POOLING + "test_padding_embeds_to_zeros_and_is_never_trained",
    ),
    mutant(
        "unknown features looked up as an item", POOLING,
        "np.where(column > 0, column + rows - 1, 0)", "column + rows - 1",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
    ),
    mutant(
        "mean over places instead of behaviours in YouTube DNN", YOUTUBE,
        "history.mask.sum(1, keepdim=True).clamp(min=1)", "history.mask.shape[1]",
        IN_MODELS + "test_youtube_dnn_takes_the_mean_over_behaviors_and_not_over_places",
    ),
    # Retrieval
    mutant(
        "the sum over interests instead of the best", RETRIEVAL,
        "torch.maximum(best, interests[:, k] @ items.T, out=best)",
        "best += interests[:, k] @ items.T",
        IN_RETRIEVAL + "test_the_score_is_the_best_active_interest",
    ),
    mutant(
        "history not excluded", RETRIEVAL,
        "if exclude_history:", "if False:",
        IN_RETRIEVAL + "test_history_is_excluded_from_the_list",
        IN_MODELS + "test_every_recommender_returns_n_distinct_items_outside_the_history",
    ),
    mutant(
        "history excluded only within a window", RETRIEVAL,
        "rows, items = part.pairs()",
        "window = part.window(50)\n"
        "            rows, places = window.mask.nonzero(as_tuple=True)\n"
        "            items = window.items[rows, places]",
        IN_RETRIEVAL + "test_all_of_a_long_history_is_excluded_and_not_only_a_window",
    ),
    mutant(
        "history excluded whatever is asked for", VECTOR,
        "num_items, exclude_history=exclude_history)", "num_items, exclude_history=True)",
        IN_MIND_RULES + "test_the_history_may_be_recommended_where_that_is_asked_for",
    ),
    mutant(
        "padding recommended", RETRIEVAL,
        "scores[:, 0] = -torch.inf", "pass",
        IN_RETRIEVAL + "test_padding_is_never_recommended",
    ),
    mutant(
        "an item twice in a merged list", RETRIEVAL,
        "repeated[:, 1:] = by_item[:, 1:] == by_item[:, :-1]", "pass",
        IN_RETRIEVAL + "test_merging_never_returns_an_item_twice_and_pads_with_nothing",
        IN_RETRIEVAL + "test_merging_the_lists_of_each_interest_equals_brute_force",
    ),
    mutant(
        "the worst copy of an item in a merged list", RETRIEVAL,
        "flat_scores.sort(1, descending=True)", "flat_scores.sort(1)",
        IN_RETRIEVAL + "test_merging_never_returns_an_item_twice_and_pads_with_nothing",
    ),
    # Indexes
    mutant(
        "inactive interests searched in an index", INDEX,
        "index.nearest(interests[active], width, owners)",
        "(v.unflatten(0, active.shape)[active]\n"
        "                for v in index.nearest(interests.nan_to_num().flatten(0, 1), width))",
        IN_INDEX + "test_only_active_interests_reach_the_engine_and_in_one_call",
    ),
    mutant(
        "no more fetched for a long past", INDEX,
        "widths = (n + excluded)", "widths = (n + 0 * excluded)",
        IN_INDEX + "test_a_long_past_does_not_shorten_the_list",
        IN_INDEX + "test_search_equals_brute_force",
    ),
    mutant(
        "history not excluded from an index's list", INDEX,
        "merged.scores.masked_fill(pairs[place] == found, -torch.inf)", "merged.scores",
        IN_INDEX + "test_a_long_past_does_not_shorten_the_list",
    ),
    mutant(
        "an index of another catalogue loaded", INDEX_FILES,
        'manifest["fingerprint"] != fingerprint(ids)', "False",
        IN_INDEX_FILES + "test_another_catalogue_is_refused",
    ),
    mutant(
        "a half-written index left behind", INDEX_FILES,
        "part.unlink(missing_ok=True)", "pass",
        IN_INDEX_FILES + "test_an_interrupted_move_leaves_nothing_behind",
    ),
    mutant(
        "removed items found", FAISS,
        "if not held.all():", "if False:",
        IN_FAISS + "test_what_is_removed_is_not_found_and_what_is_added_is",
    ),
    mutant(
        "the lists of one user's interests do not compete", FAISS,
        "beaten = torch.from_numpy(coarse) < last[row]",
        "beaten = torch.arange(wide).expand(len(row), -1) >= nprobe",
        IN_FAISS + "test_the_lists_scanned_are_the_best_pairs_of_interest_and_centroid",
        IN_FAISS + "test_competing_finds_more_of_a_user_with_one_strong_interest",
    ),
    # §4.2: what MIND is compared with
    mutant(
        "the mean of MaxMF over places", MAXMF,
        "mean = mean_of_behaviors(self.dropped(behaviors, generator), history)",
        "mean = self.dropped(behaviors, generator).mean(1)",
        IN_MAXMF + "test_each_vector_is_a_map_of_the_mean",
    ),
    mutant(
        "positions in what self-attention averages", COMIREC,
        "weights @ self.dropped(behaviors, generator)", "weights @ placed",
        IN_COMIREC + "test_self_attention_equals_its_equation",
    ),
    mutant(
        "self-attention over interests", COMIREC,
        ".min).softmax(2)", ".min).softmax(1)",
        IN_COMIREC + "test_self_attention_equals_its_equation",
    ),
    mutant(
        "padding attended to", COMIREC,
        "logits.masked_fill(absent, torch.finfo(logits.dtype).min).softmax(2)", "logits.softmax(2)",
        IN_COMPARED + "test_padding_changes_nothing",
    ),
    mutant(
        "one matrix for all places of ComiRec-DR", COMIREC,
        "behaviors, self.maps[:length])", "behaviors, self.maps[:1].expand(length, -1, -1, -1))",
        IN_COMIREC + "test_dynamic_routing_equals_its_algorithm",
    ),
    mutant(
        "gradient through the coupling of ComiRec-DR", COMIREC,
        "with torch.no_grad():", "if True:",
        IN_COMIREC + "test_no_gradient_runs_through_the_coupling_of_dynamic_routing",
    ),
    mutant(
        "ComiRec's readout soft", COMIREC,
        "labels, math.inf)", "labels, 1.0)",
        IN_COMPARED + "test_the_label_meets_the_interest_that_scores_it_best",
    ),
    mutant(
        "SASRec sees what comes later", SASREC,
        "mask=later, is_causal=True", "mask=None, is_causal=False",
        IN_SASREC + "test_the_user_vector_equals_the_blocks_by_hand",
        IN_COMPARED + "test_padding_changes_nothing",
    ),
    mutant(
        "dropout in evaluation", SASREC,
        "self.blocks.train(generator is not None)", "pass",
        IN_SASREC + "test_training_drops_and_evaluation_does_not_whatever_the_mode",
    ),
    mutant(
        "dropout from the global generator", SASREC,
        "torch.manual_seed(int(seed))", "pass",
        IN_COMPARED
        + "test_training_draws_from_the_generator_alone_and_leaves_the_global_one",
    ),
    mutant(
        "confidence without the 1", FACTORIZATION,
        "confidence.data = 1 + alpha * counts.data", "confidence.data = alpha * counts.data",
        IN_FACTORIZATION + "test_a_user_is_the_solution_for_her_past",
    ),
    mutant(
        "held out events factorised", COUNTS,
        "log, learnt = split.log, split.train_events",
        "log, learnt = split.log, split.train_events | True",
        IN_FACTORIZATION + "test_it_learns_from_training_events_only",
    ),
    mutant(
        "negatives by the label's interest in the loss of the best", LOSSES,
        "(interests @ negatives.T).masked_fill(~active[:, :, None], -torch.inf).amax(1)",
        "interests[torch.arange(len(own)), own.argmax(1)] @ negatives.T",
        IN_LOSSES + "test_every_item_is_scored_by_its_own_best_active_interest",
        IN_LOSSES + "test_sharing_the_catalogue_pays_in_eq_10_and_not_here",
    ),
    mutant(
        "hard negatives weighed by the mean over what was drawn", LOSSES,
        "shares = stands_for.expand_as(scores)", "shares = torch.zeros_like(scores)",
        IN_LOSSES + "test_with_logq_it_converges_to_the_same_loss_whatever_the_proposal",
    ),
    mutant(
        "padding in the penalty on routing", LOSSES,
        "mean[:, :, None]).square() * present)", "mean[:, :, None]).square())",
        IN_LOSSES + "test_the_penalty_is_the_squared_variance_over_the_behaviors",
    ),
    mutant(
        "an item twice in a varied list", DIVERSITY,
        "worth.scatter_(1, best, -torch.inf)", "pass",
        IN_DIVERSITY + "test_items_are_chosen_greedily",
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
    # Splits
    mutant(
        "a target's own basket in its past", SPLITS,
        "last = log.before[ends - 1]", "last = ends - 1",
        LEAVE_LAST_OUT, IN_SPLITS + "test_leave_last_out_keeps_steps_whole",
    ),
    mutant(
        "a target's own basket in the past of a held out user", SPLITS,
        "cut = log.before[np.minimum(cut, ends - 1)]", "cut = np.minimum(cut, ends - 1)",
        IN_SPLITS + "test_no_leakage_held_out_users",
    ),
    mutant(
        "a target's own basket in the past of the random split", SPLITS,
        "np.r_[0, np.cumsum(visible)][log.before]", "np.r_[0, np.cumsum(visible)][:-1]",
        IN_SPLITS + "test_no_leakage_random",
    ),
    mutant(
        "held out events learnt from", SPLITS,
        "train_events[place >= 0] = False", "pass",
        LEAVE_LAST_OUT,
    ),
    mutant(
        "popularity counts held out events", SPLITS,
        "np.bincount(self.log.items[self.train_events],", "np.bincount(self.log.items,",
        LEAVE_LAST_OUT,
    ),
    # Serving
    mutant(
        "logits drawn in the export", ROUTING,
        "return sigma * torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)",
        "return sigma * torch.randn_like(first)",
        IN_EXPORT + "test_nothing_is_drawn_and_nothing_kept_between_calls",
    ),
    mutant(
        "mask dropped in the export", EXPORT,
        "History(items, mask, profile)", "History(items, torch.ones_like(mask), profile)",
        IN_EXPORT + "test_served_vectors_equal_those_of_evaluation",
    ),
    mutant(
        "profile ignored in the export", EXPORT,
        "History(items, mask, profile)", "History(items, mask, torch.zeros_like(profile))",
        IN_EXPORT + "test_the_profile_reaches_the_served_vectors",
    ),
    mutant(
        "attention left in the export", EXPORT,
        "return interests.vectors, interests.active",
        "read = self.model.readout(interests, behaviors[:, 0])\n"
        "        return read[:, None] * interests.active[:, :, None], interests.active",
        IN_EXPORT + "test_label_aware_attention_is_absent",
    ),
    mutant(
        "an export's catalogue not compared", EXPORTED,
        "catalogue is not None and", "False and",
        IN_EXPORTED + "test_another_catalogue_is_refused",
    ),
    mutant(
        "an export's bytes not compared", EXPORTED,
        "if found != expected:", "if False:",
        IN_EXPORTED + "test_a_changed_byte_is_refused",
    ),
    mutant(
        "an export that failed left behind", EXPORT,
        "shutil.rmtree(partial, ignore_errors=True)", "pass",
        IN_EXPORTED + "test_on_a_full_disk_nothing_is_left",
        IN_EXPORTED + "test_an_interrupted_export_leaves_nothing",
    ),
    # Ranking
    mutant(
        "behaviours weigh the same for every candidate", DIN,
        "index_copy(0, places, weights)", "index_copy(0, places, torch.ones_like(weights))",
        IN_DIN + "test_weights_depend_on_the_candidate_and_are_not_normalised",
        IN_RANKING + "test_local_activation_beats_mean_pooling",
    ),
    mutant(
        "a past's weights normalised", DIN,
        "weights).unflatten(0, mask.shape)", "weights).unflatten(0, mask.shape).softmax(1)",
        IN_DIN + "test_weights_depend_on_the_candidate_and_are_not_normalised",
        IN_DIN + "test_scores_are_those_of_the_formulas",
    ),
    mutant(
        "padding activated", DIN,
        "mask.flatten().nonzero()[:, 0]", "torch.arange(mask.numel())",
        IN_DIN + "test_padding_never_matters",
    ),
    mutant(
        "Dice with the batch's statistics in evaluation", DIN,
        "affine=False)", "affine=False, track_running_stats=False)",
        IN_DIN + "test_dice_takes_the_batch_in_training_and_its_running_average_afterwards",
    ),
    mutant(
        "Dice with running statistics in training", DIN,
        "self.standardize(rows)",
        "F.batch_norm(rows, self.standardize.running_mean, self.standardize.running_var)",
        IN_DIN + "test_dice_takes_the_batch_in_training_and_its_running_average_afterwards",
    ),
    mutant(
        "the products of one user with all candidates scaled wrongly", DIN,
        "self.product.weight + self.candidate.weight", "self.product.weight",
        IN_DIN + "test_both_orders_of_the_products_give_the_same_weights",
    ),
    mutant(
        "the ranker sees the first behaviours", RANKER,
        "behaviors[-self.model.config.history_length :]",
        "behaviors[: self.model.config.history_length]",
        IN_RANKER + "test_a_long_past_is_cut_to_its_end",
    ),
    mutant(
        "a ranker served in training mode", RANKER,
        "model.cpu().eval(), Catalogue", "model.cpu(), Catalogue",
        IN_RANKER + "test_serving_never_uses_a_batchs_statistics",
    ),
    mutant(
        "a ranker's bytes not compared", RANKER,
        'if content_digest(metadata["facts"], tensors) != metadata["sha256"]:', "if False:",
        IN_RANKER + "test_a_changed_byte_is_noticed",
    ),
    mutant(
        "a ranker's catalogue not compared", RANKER,
        "catalogue is not None and", "False and",
        IN_RANKER + "test_the_catalogue_is_checked_where_it_is_known",
    ),
    mutant(
        "what she takes later is a negative", RANKING,
        "counts = (first == self.taken.never) & (items > 0)", "counts = items > 0",
        IN_RANKING + "test_what_a_user_takes_at_any_time_is_no_negative_of_hers",
    ),
    mutant(
        "a repeat is a target of the ranker", RANKING,
        "counts[:, 0] = first[:, 0] >= histories.ends", "counts[:, 0] = True",
        IN_RANKING + "test_a_repeat_is_no_target",
    ),
    mutant(
        "the ranker knows what is held out", RANKING,
        "events = np.flatnonzero(split.train_events)", "events = np.arange(len(log))",
        IN_RANKING + "test_held_out_events_are_not_known_to_training",
    ),
    mutant(
        "negatives out of somebody else's list", RANKING,
        "self.found[rows].gather", "self.found[: len(rows)].gather",
        IN_RANKING + "test_negatives_are_out_of_the_list_and_out_of_the_catalogue",
    ),
    mutant(
        "the ranker's last epoch kept", RANKING,
        "    model.load_state_dict(best_weights)\n", "",
        IN_RANKING + "test_the_epoch_with_the_best_gauc_on_validation_is_kept",
    ),
    mutant(
        "ties won", RANKING_METRICS,
        "(ties + last)[tie] / 2", "last[tie]",
        IN_RANKING_METRICS + "test_gauc_is_the_mean_of_the_users_auc_weighted_by_impressions",
        IN_RANKING_METRICS + "test_auc_is_scikit_learns",
    ),
    mutant(
        "users weigh the same in GAUC", RANKING_METRICS,
        "areas @ sizes / sizes.sum()", "areas.mean()",
        IN_RANKING_METRICS + "test_impressions_weigh_the_users",
    ),
    mutant(
        "padding judged", RANKING_METRICS,
        "shown = lists.items > 0", "shown = lists.items >= 0",
        IN_RANKING_METRICS
        + "test_judge_leaves_out_padding_and_counts_the_lists_that_can_be_judged",
    ),
    mutant(
        "inactive interests rank", RANKED_LISTS,
        "masked_fill(~active[part, None], -torch.inf)", "clone()",
        IN_RANKED_LISTS + "test_an_inactive_interest_has_no_say",
    ),
    mutant(
        "padding ranked", RERANKED,
        "masked_fill(found == 0, -torch.inf)", "clone()",
        IN_RANKED_LISTS + "test_reranked_lists_end_where_the_candidates_do",
    ),
    mutant(
        "a batch in which nothing counts has no loss", RANKING,
        "counts.sum().clamp(min=1)", "counts.sum()",
        IN_RANKING + "test_a_batch_in_which_nothing_counts_teaches_nothing",
    ),
    # The platform
    mutant(
        "a click of the future taken", STORE,
        "if at > self.clock() + AHEAD:", "if False:",
        IN_STORE + "test_a_click_at_an_impossible_time_is_refused",
    ),
    mutant(
        "an item that no shop has taken", STORE,
        "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys = OFF",
        IN_STORE + "test_an_unknown_item_is_refused",
    ),
    mutant(
        "clicks in the order of arrival", STORE,
        "ORDER BY time DESC, place DESC", "ORDER BY place DESC",
        IN_STORE + "test_behaviours_are_in_the_order_of_time_and_then_of_arrival",
    ),
    mutant(
        "a user is another one as text", STORE,
        'ORDER BY time DESC, place DESC LIMIT ?",\n                (str(user), n),',
        'ORDER BY time DESC, place DESC LIMIT ?",\n                (repr(user), n),',
        IN_STORE + "test_a_user_is_the_same_as_a_number_and_as_text",
    ),
    mutant(
        "a transaction open after its commit failed", STORE,
        "if connection.in_transaction:", "if False:",
        IN_STORE + "test_a_connection_whose_commit_failed_is_as_good_as_new",
    ),
    mutant(
        "a closed store waits for what another call closed", STORE,
        "while True:\n                self._idle.get_nowait()",
        "while not self._idle.empty():\n                self._idle.get()",
        IN_STORE + "test_calls_that_run_when_it_is_closed_all_end",
    ),
    mutant(
        "somebody else's database changed", STORE,
        "        with _immediate(connection):\n            (application,)",
        '        connection.execute("PRAGMA journal_mode = WAL")\n'
        "        with _immediate(connection):\n            (application,)",
        IN_STORE + "test_a_file_that_is_no_store_is_refused",
    ),
    mutant(
        "late work waited for", BUDGET,
        "        if not future.done():\n            raise Late\n", "",
        IN_BUDGET + "test_late_work_is_given_up_in_time",
    ),
    mutant(
        "late work piles up", BUDGET,
        "future.add_done_callback(lambda _: self._free.release())", "self._free.release()",
        IN_BUDGET + "test_no_work_is_begun_while_all_workers_are_kept",
    ),
    mutant(
        "a stranger is answered from nothing", PLATFORM,
        "            if not known:\n                return None\n", "",
        IN_PLATFORM + "test_a_stranger_gets_what_is_popular",
        IN_APP + "test_a_stranger_is_answered_and_told_why",
    ),
    mutant(
        "what she has had is shown while recall is down", PLATFORM,
        "popularity.popular(behaviors, self", "popularity.popular(_none(), self",
        IN_PLATFORM + "test_with_the_rule_down_too_nothing_is_shown_that_she_has",
    ),
    mutant(
        "an answer names a version that did not make it", PLATFORM,
        "version=self.bundle.version,", "version=self.platform.bundle.version,",
        IN_PLATFORM + "test_a_request_that_runs_ends_on_its_own_version",
    ),
    mutant(
        "a request changes its version on the way", PLATFORM,
        "ids, titles = self.bundle.catalogue.item_ids, self.bundle.labels.titles",
        "self.bundle = self.platform.bundle\n"
        "        ids, titles = self.bundle.catalogue.item_ids, self.bundle.labels.titles",
        IN_PLATFORM + "test_a_request_that_runs_ends_on_its_own_version",
    ),
    mutant(
        "a version takes over that cannot answer", PLATFORM,
        "        _rehearse(bundle, self.config.candidates)\n", "",
        IN_PLATFORM + "test_a_version_that_cannot_answer_does_not_take_over",
    ),
    mutant(
        "two swaps cross", PLATFORM,
        "with self._swapping:", "if True:",
        IN_PLATFORM + "test_of_two_swaps_at_once_the_metrics_name_the_one_that_serves",
    ),
    mutant(
        "NaN of a ranker shown", PLATFORM,
        " or not np.isfinite(scores).all()", "",
        IN_PLATFORM + "test_nonsense_of_the_ranker_is_a_failure",
    ),
    mutant(
        "a category has one place too many", STAGES,
        ">= math.ceil(self.share * n)", "> math.ceil(self.share * n)",
        IN_STAGES + "test_the_rule_equals_plain_python",
    ),
    mutant(
        "an endless body is read", GUARD,
        "if len(body) > LARGEST_BODY:", "if False:",
        IN_APP + "test_no_endless_body_is_read",
        IN_APP + "test_a_body_that_is_too_large",
    ),
    mutant(
        "the index of another version served", BUNDLE,
        "if found != expected:", "if False:",
        IN_BUNDLE + "test_a_part_of_another_version_is_refused",
    ),
    # The nightly refresh
    mutant(
        "an evening knows the next day", DAYS,
        "log.select(number <= t)", "log.select(number <= t + 1)",
        IN_DAYS + "test_an_evening_knows_the_days_so_far_and_is_judged_by_the_next",
    ),
    mutant(
        "the gate's cases learnt from", DAYS,
        "train_events = ~held_out", "train_events = np.ones_like(held_out)",
        IN_DAYS + "test_tonights_split_learns_nothing_of_what_is_held_out",
    ),
    mutant(
        "nobody misses what he does not know", DAYS,
        "targets.masked_fill(targets == 0, len(catalogue) + 1)", "targets",
        IN_DAYS + "test_any_catalogue_can_be_asked_in_its_own_numbers",
    ),
    mutant(
        "the gate compares with tonight's version", GATE,
        "theirs = recall(yesterday)", "theirs = ours",
        IN_GATE + "test_the_tolerance_decides_and_nothing_else",
    ),
    mutant(
        "the gate's refusal not heard", NIGHTLY,
        "if not verdict.passed:", "if False:",
        IN_NIGHTLY + "test_a_broken_export_is_refused_with_figures_and_the_old_version_stays",
    ),
    mutant(
        "two refreshes at once", REGISTRY,
        "            lock.acquire()\n", "",
        IN_REGISTRY + "test_one_refresh_at_a_time",
    ),
    mutant(
        "a refresh undoes a rollback", REGISTRY,
        "if current != before:", "if False:",
        IN_REGISTRY + "test_a_version_does_not_replace_another_than_it_was_made_to_follow",
    ),
    mutant(
        "half a version left for good", REGISTRY,
        "            self._sweep()\n            yield", "            yield",
        IN_REGISTRY
        + "test_half_of_a_version_is_swept_away_and_so_is_one_that_was_never_served",
    ),
    mutant(
        "a refused version's number given again", REGISTRY,
        '        taken += [int(path.stem) for path in self.refused.glob("*.json")]\n', "",
        IN_REGISTRY + "test_a_refusal_is_remembered_and_uses_up_its_number",
    ),
    mutant(
        "a warm start that is cold", WARM,
        "weight.copy_(weights[name])", "pass",
        IN_WARM + "test_in_an_unchanged_catalogue_the_model_is_yesterdays",
    ),
    mutant(
        "a version that was refused counts as served", FOLLOW,
        "            self.error = error\n            return False\n", "            pass\n",
        IN_FOLLOW + "test_a_version_that_the_platform_refuses_is_not_the_one_that_serves",
    ),
    # The simulated week
    mutant(
        "an arm depends on who else is asked about", ASSIGNMENT,
        "uniform(salt(self.name), users)",
        "np.random.default_rng(salt(self.name)).random(len(users))",
        IN_ASSIGNMENT + "test_an_arm_depends_on_the_user_alone",
    ),
    mutant(
        "every experiment divides the users alike", ASSIGNMENT,
        "salt(self.name)", 'salt("")',
        IN_ASSIGNMENT + "test_two_experiments_divide_the_users_independently",
    ),
    mutant(
        "all arms of one size", ASSIGNMENT,
        "np.cumsum(self.shares)", "(np.arange(1, len(self.shares) + 1) / len(self.shares))",
        IN_ASSIGNMENT + "test_arms_have_their_shares",
    ),
    mutant(
        "a hash that is another one in every process", HASHING,
        'int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")',
        "hash(name) % 2**64",
        IN_ASSIGNMENT + "test_a_name_is_hashed_as_written_here_for_ever",
    ),
    mutant(
        "uneven numbers", HASHING,
        "* 2.0**-53)", "* 2.0**-53) ** 2",
        IN_ASSIGNMENT + "test_the_hash_is_splitmix_of_one_key_after_the_other",
        IN_ASSIGNMENT + "test_arms_have_their_shares",
    ),
    mutant(
        "every place is looked at", CLICK_MODEL,
        "< self.config.examination(len(ranks))", "< 1",
        IN_CLICK_MODEL + "test_clicks_come_as_often_as_the_formula_says_at_each_rank",
    ),
    mutant(
        "the luck of a product is that of its place", CLICK_MODEL,
        "PRODUCT, day, rows, lists)", "PRODUCT, day, rows, ranks)",
        IN_CLICK_MODEL + "test_luck_is_the_same_whoever_shows_it",
    ),
    mutant(
        "clicks forgotten overnight", SIMULATED_WEEK,
        "behaviors = behaviors.append(", "behaviors.append(",
        IN_SIMULATED_WEEK + "test_tomorrows_past_is_todays_with_the_clicks_at_its_end",
    ),
    mutant(
        "impressions independent", SIMULATED,
        "reach = Z * _error(residuals)",
        "reach = impression_rate(clicks[there], impressions[there]).high - value",
        IN_SIMULATED + "test_intervals_cover_the_truth_nineteen_times_in_twenty",
    ),
    mutant(
        "errors of two arms added", SIMULATED,
        "np.hypot(_error(a), _error(b))", "_error(a) + _error(b)",
        IN_SIMULATED + "test_differences_of_nothing_have_even_p_values_and_cover_zero",
    ),
    mutant(
        "one side of the p-value", SIMULATED,
        "float(2 * stats.norm.sf(", "float(stats.norm.sf(",
        IN_SIMULATED + "test_differences_of_nothing_have_even_p_values_and_cover_zero",
    ),
    mutant(
        "pairs not paired", SIMULATED,
        "error = _error(a - b)", "error = float(np.hypot(_error(a), _error(b)))",
        IN_SIMULATED + "test_pairs_cancel_what_they_share",
    ),
    mutant(
        "bounds that rise", SEQUENTIAL,
        "1 / np.sqrt(t) if", "np.sqrt(t) if",
        IN_SEQUENTIAL + "test_bounds_are_the_published_ones",
    ),
    mutant(
        "the replayed weeks' eve learnt from", REPLAY,
        '"training": log.timestamps < earlier', '"training": log.timestamps < cut',
        IN_REPLAY + "test_the_parts_are_cut_by_time",
    ),
    # Experiments
    mutant(
        "a run's seed is no part of its name", TRIALS,
        '            "seed": self.seed,\n', "",
        IN_TRIALS + "test_another_seed_of_chance_is_another_run",
    ),
    mutant(
        "a run's data are no part of its name", TRIALS,
        'trial.identity | {"data": data_digest(split)}', "trial.identity",
        IN_TRIALS + "test_other_data_are_another_run",
    ),
    mutant(
        "a run's code is no part of its name", TRIALS,
        "own = home / code_digest()[:16]", 'own = home / "code"',
        IN_TRIALS + "test_other_code_is_another_run_unless_trusted",
    ),
    mutant(
        "tuning looks at the test", TRIALS,
        'cutoffs, parts=("validation",), **options)', "cutoffs, **options)",
        IN_TRIALS + "test_tuning_takes_the_best_on_validation_and_never_looks_at_the_test",
    ),
    mutant(
        "tuning takes the worst", TRIALS,
        "np.nanargmax(values)", "np.nanargmin(values)",
        IN_TRIALS + "test_tuning_takes_the_best_on_validation_and_never_looks_at_the_test",
    ),
    mutant(
        "a damaged result believed", RUN_CACHE,
        'if digest_of(stored.facts) != whole["sha256"]:', "if False:",
        IN_RUN_CACHE + "test_a_damaged_file_is_not_believed",
    ),
    mutant(
        "a deciding file decides nothing", RUN_CACHE,
        'digest.update(f"{file.relative_to(package).as_posix()}\\0{code}\\0".encode())', "pass",
        IN_RUN_CACHE + "test_code_of_every_deciding_file_decides_the_digest",
    ),
    mutant(
        "the deviation of a whole population", RESULTS,
        "statistics.stdev(values)", "statistics.pstdev(values)",
        IN_RESULTS + "test_mean_and_deviation_are_over_the_seeds",
    ),
    mutant(
        "cases between the bins", RESULTS,
        "inside &= touched <= most", "inside &= touched < most",
        IN_RESULTS + "test_every_case_is_in_one_bin",
    ),
    mutant(
        "no significance is likeness", CLAIMS,
        "if max(abs(found.low), abs(found.high)) <= ALIKE:", "if found.low <= 0 <= found.high:",
        IN_CLAIMS + "test_alike_needs_a_narrow_interval_and_not_merely_one_with_zero",
    ),
    mutant(
        "who was compared with whom forgotten", CLAIMS,
        "return Comparison(-values[0], -values[2], -values[1], values[3])",
        "return Comparison(*values)",
        IN_CLAIMS + "test_a_difference_is_found_in_either_order",
    ),
    mutant(
        "broken trainings in the table", RECORDED_TABLES,
        'and "failed" not in row', "and True",
        IN_RECORDED_TABLES
        + "test_rows_are_those_of_the_table_or_of_one_study_without_the_broken",
    ),
]  # fmt: skip


class Host:
    """A process that runs pytest again and again, each time in a child that has changed nothing."""

    def __init__(self, folder: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        # One thread, so that it can be forked, and several mutants may run side by side. With CI
        # hypothesis draws the same examples every time.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CI": "true"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, node_ids: Sequence[str]) -> tuple[int, dict[str, Any], str]:
        """Run tests in `folder`: the exit code, what the witness saw, the output."""
        (folder / "witness.py").write_text(WITNESS, encoding="utf-8")
        # To explain a difference can take a minute, hence plain assertions.
        options = ["-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "witness"]
        arguments = [*options, *(f"tests/{node_id}" for node_id in node_ids)]
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(folder), arguments]) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        output = (folder / "output.txt").read_text(encoding="utf-8")
        facts = folder / "facts.json"
        assert facts.exists(), f"exit code {code}\n{output}"
        return code, json.loads(facts.read_text(encoding="utf-8")), output

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the package, its tests and their settings, to be broken freely."""
    for name in ("mindlib", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_each_mutant_breaks_a_place_that_exists_and_has_a_name_of_its_own(folder: Path):
    originals = {m.module: (folder / "mindlib" / m.module).read_bytes() for m in MUTANTS}
    for m in MUTANTS:
        m.mutate(folder / "mindlib")
        path = folder / "mindlib" / m.module
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
        path.write_bytes(originals[m.module])
    assert len({m.rule for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.mutants
def test_the_copy_without_a_mutant_passes(folder: Path, host: Host):
    """The control: what kills below is the mutant, not the copying."""
    killers = list(dict.fromkeys(killer for m in MUTANTS for killer in m.killers))
    code, facts, output = host.run(folder, killers)
    assert code == pytest.ExitCode.OK, output
    assert facts["failed"] == {}
    assert facts["package"] == str(folder / "mindlib" / "__init__.py")


@pytest.mark.mutants
@pytest.mark.parametrize("m", MUTANTS, ids=lambda m: m.rule.replace(" ", "-"))
def test_a_named_test_kills(m: Mutant, folder: Path, host: Host):
    m.mutate(folder / "mindlib")
    code, facts, output = host.run(folder, m.killers)
    assert facts["package"] == str(folder / "mindlib" / "__init__.py"), "another package was tested"
    assert code != pytest.ExitCode.OK, f"it survives: no test notices {m.rule!r}\n{output}"
    assert code == pytest.ExitCode.TESTS_FAILED, output
    # Without parameters: one of a test's cases is enough.
    failed = {node_id.partition("[")[0]: kind for node_id, kind in facts["failed"].items()}
    assert set(failed) == {f"tests/{killer}" for killer in m.killers}, output
    # The mutant gives a wrong answer. (One that merely crashes would prove nothing.)
    assert set(failed.values()) <= {"AssertionError", "Failed"}, output
