"""Mutants of routing, attention and pooling: each breaks one rule, the tests it names must fail."""

from tests.mutants import mutant

ATTENTION = "layers/attention.py"
POOLING = "layers/pooling.py"
ROUTING = "layers/routing.py"
INITIAL_LOGITS = "layers/initial_logits.py"
IN_ROUTING = "layers/test_routing.py::"
IN_INITIAL = "layers/test_initial_logits.py::"
IN_TUNED = "layers/test_routing_tuned.py::"
IN_ATTENTION = "layers/test_attention.py::"
IN_POOLING = "layers/test_pooling.py::"
IN_SUMS = "layers/test_pooled_sums.py::"
IN_VECTOR = "models/test_vector_model.py::"
IN_MODELS = "models/test_models.py::"
IN_MIND_RULES = "models/test_mind_rules.py::"
IN_TRAINING = "training/test_fitting.py::"
IN_EXPORT = "online/test_export.py::"
FARTHEST = IN_INITIAL + "test_the_logits_are_cosines_to_behaviors_that_lie_far_apart"
TUNED = IN_TUNED + "test_it_equals_its_iterations_in_plain_python"
SUMS = IN_SUMS + "test_an_item_is_the_sum_of_what_is_known_and_shared"
ALGORITHM_1 = IN_ROUTING + "test_routing_equals_algorithm_1"
K_TABLE = IN_ROUTING + "test_number_of_interests_for_1_to_1000_behaviors"
K_BY_HAND = IN_ROUTING + "test_number_of_interests_by_hand"
SHRINKAGE = IN_TUNED + "test_shrinkage_adds_the_mean_of_all_behaviors_with_a_learned_weight"
LAST = IN_ROUTING + "test_gradient_of_the_last_iteration_equals_algorithm_1_with_constant_coupling"
READINGS = IN_ROUTING + "test_the_readings_are_the_documented_ones_unless_asked_otherwise"
REPRODUCIBLE = IN_MODELS + "test_evaluation_is_reproducible_whatever_else_is_in_the_batch"
ATTENDED = IN_ATTENTION + "test_inactive_interests_take_no_part_in_attention"
PADDING_IN_MIND = IN_TRAINING + "test_every_parameter_is_trained"
PADDING_ALONE = IN_POOLING + "test_padding_without_features_is_zero_and_is_never_trained"

MUTANTS = [
    # §3.3: routing
    mutant(
        "softmax over behaviours instead of interests", ROUTING,
        'masked.softmax(1 if softmax_over == "interests" else 2)', "masked.softmax(2)",
        ALGORITHM_1, IN_ROUTING + "test_coupling_sums_to_one_over_interests",
    ),
    mutant(
        "softmax over behaviours by default", ROUTING,
        'softmax_over: SoftmaxOver = "interests"', 'softmax_over: SoftmaxOver = "behaviors"',
        ALGORITHM_1, READINGS,
    ),
    mutant(
        "absent slots take part in the softmax", ROUTING,
        "masked = logits.masked_fill(absent, torch.finfo(logits.dtype).min)", "masked = logits",
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
        "            coupling, logits = route(",
        "            kept = getattr(self, 'kept', initial_logits)\n"
        "            if kept.shape == initial_logits.shape:\n"
        "                initial_logits = kept\n"
        "            self.kept = 2 * initial_logits.detach()\n"
        "            coupling, logits = route(",
        IN_ROUTING + "test_no_state_between_calls", REPRODUCIBLE,
    ),
    mutant(
        "logits replaced instead of accumulated", ROUTING,
        "routing_logits = routing_logits + scale * (queries",
        "routing_logits = scale * (queries",
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
        "return z * (torch.sqrt(square + EPS) / (1 + square))", "return z",
        IN_ROUTING + "test_squash_keeps_direction_and_bounds_length",
    ),
    mutant(
        "squash missing at the end of routing", ROUTING,
        "interests = compute_interests(shares, values, bilinear_map, config.capsule)",
        "interests = shares @ values @ bilinear_map.T",
        ALGORITHM_1,
    ),
    mutant(
        "shrinkage without effect", ROUTING,
        "shares = (shares + F.softplus(self.shrinkage) * mean)", "shares = shares",
        SHRINKAGE,
    ),
    mutant(
        "shrinkage by a sum instead of a mean", ROUTING,
        "mean = total / total.sum(2, keepdim=True).clamp(min=MIN_WEIGHT)", "mean = total",
        SHRINKAGE,
    ),
    mutant(
        "shrinkage gives inactive interests a vector", ROUTING,
        "* mean) * active[:, :, None]", "* mean)",
        SHRINKAGE,
    ),
    mutant(
        "shrinkage in the paper's form", ROUTING,
        "shrinkage: bool = False", "shrinkage: bool = True",
        READINGS, ALGORITHM_1,
    ),
    mutant(
        "squash missing between the iterations", ROUTING,
        "interests = compute_interests(coupling, behaviors, bilinear_map, config.capsule)",
        "interests = coupling @ behaviors @ bilinear_map.T",
        ALGORITHM_1,
    ),
    mutant(
        "gradient through all iterations in the paper's form", ROUTING,
        '"gradient": "last"', '"gradient": "all"',
        READINGS, IN_ROUTING + "test_no_gradient_reaches_the_logits_of_the_paper",
    ),
    mutant(
        "gradient through all iterations always", ROUTING,
        'torch.is_grad_enabled() and config.gradient == "all"', "torch.is_grad_enabled()",
        LAST, IN_ROUTING + "test_no_gradient_reaches_the_logits_of_the_paper",
    ),
    mutant(
        "gradient through the last iteration always", ROUTING,
        'torch.is_grad_enabled() and config.gradient == "all"', "False",
        IN_ROUTING + "test_gradient_through_all_iterations_equals_algorithm_1",
    ),
    mutant(
        "zero initial logits in evaluation", INITIAL_LOGITS,
        "return sigma * torch.sqrt(", "return 0 * torch.sqrt(",
        IN_INITIAL + "test_evaluation_logits_depend_on_the_item_and_not_on_its_position",
        IN_MIND_RULES + "test_the_interests_of_a_user_differ_in_training_and_in_evaluation",
    ),
    mutant(
        "sigma ignored in evaluation", INITIAL_LOGITS,
        "return sigma * torch.sqrt(", "return torch.sqrt(",
        IN_INITIAL + "test_evaluation_logits_are_standard_gaussian_and_independent",
    ),
    mutant(
        "evaluation logits by position instead of by item", INITIAL_LOGITS,
        "items[:, None, :] * max_interests",
        "torch.arange(items.shape[1]).expand_as(items)[:, None, :] * max_interests",
        IN_INITIAL + "test_evaluation_logits_depend_on_the_item_and_not_on_its_position",
        IN_MODELS + "test_the_order_of_behaviors_changes_nothing",
    ),
    # The tuned form: initial logits, routing, pooling
    mutant(
        "gradient through the choice of seeds", INITIAL_LOGITS,
        "torch.where(distinct, votes.gather(1, index), total)",
        "torch.where(distinct, votes.gather(1, index) + total - total.detach(), total)",
        IN_INITIAL + "test_the_gradient_runs_through_the_cosines_and_not_through_the_choice",
    ),
    mutant(
        "no gradient through the seeds", INITIAL_LOGITS,
        "torch.where(distinct, votes.gather(1, index), total)",
        "torch.where(distinct, votes.gather(1, index).detach(), total)",
        IN_INITIAL + "test_the_gradient_runs_through_the_cosines_and_not_through_the_choice",
        IN_TUNED + "test_its_gradient_runs_through_all_iterations_and_the_initial_logits",
    ),
    mutant(
        "the first seed is the first behaviour", INITIAL_LOGITS,
        "[_first_minimum(to_all)], [mask.any(1)]", "[mask.int().argmax(1)], [mask.any(1)]",
        FARTHEST, IN_INITIAL + "test_seeds_by_hand",
        IN_INITIAL + "test_the_order_of_behaviors_moves_the_columns_and_nothing_else",
    ),
    mutant(
        "the first seed is the behaviour most like all", INITIAL_LOGITS,
        "[_first_minimum(to_all)], [mask.any(1)]",
        "[_first_minimum((-to_all).masked_fill(~mask, torch.inf))], [mask.any(1)]",
        FARTHEST, IN_INITIAL + "test_seeds_by_hand",
    ),
    mutant(
        "seeds far from the last seed only", INITIAL_LOGITS,
        "to_seeds = torch.maximum(to_seeds, cosine.gather(1, last).squeeze(1))",
        "to_seeds = cosine.gather(1, last).squeeze(1).masked_fill(~mask, torch.inf)",
        FARTHEST,
    ),
    mutant(
        "padding among the seeds", INITIAL_LOGITS,
        "torch.full_like(to_all, -torch.inf).masked_fill(~mask, torch.inf)",
        "torch.full_like(to_all, -torch.inf)",
        IN_INITIAL + "test_padding_and_other_users_never_matter",
    ),
    mutant(
        "seeds repeated where behaviours are few", INITIAL_LOGITS,
        "is_distinct.append(to_seeds.amin(1) < 1 - DUPLICATE_TOLERANCE)",
        "is_distinct.append(to_seeds.amin(1) < 2)",
        IN_INITIAL + "test_interests_without_a_behavior_of_their_own_start_at_the_mean",
    ),
    mutant(
        "rounding chooses among equal behaviours", INITIAL_LOGITS,
        "return (values <= values.amin(1, keepdim=True) + DUPLICATE_TOLERANCE).int().argmax(1)",
        "values = values + 1e-6 * torch.rand_like(values)\n    return values.argmin(1)",
        IN_INITIAL + "test_of_equal_behaviors_the_first_is_the_seed",
    ),
    mutant(
        "initial logits without inverse temperature", INITIAL_LOGITS,
        "directions = inverse_temperature * F.normalize(", "directions = F.normalize(",
        FARTHEST, TUNED,
    ),
    mutant(
        "a mean capsule that is a sum", ROUTING,
        "return sums / coupling.sum(2, keepdim=True).clamp(min=MIN_WEIGHT)", "return sums",
        TUNED, IN_TUNED + "test_one_interest_is_the_map_of_the_mean",
        IN_TUNED + "test_an_interest_is_a_weighted_mean_of_mapped_behaviors",
        IN_VECTOR + "test_mind_1_with_the_identity_and_a_quiet_head_is_youtube_dnn",
    ),
    mutant(
        "a mean over all behaviours", ROUTING,
        "return sums / coupling.sum(2, keepdim=True).clamp(min=MIN_WEIGHT)",
        "return sums / coupling.shape[2]",
        TUNED, IN_TUNED + "test_one_interest_is_the_map_of_the_mean",
    ),
    mutant(
        "cosine agreement without the behaviours' lengths", ROUTING,
        "votes, scale * inverse_norms(votes)[:, None, :]", "votes, scale",
        TUNED, IN_TUNED + "test_the_coupling_does_not_depend_on_the_length_of_the_embeddings",
    ),
    mutant(
        "cosine agreement without the interests' lengths", ROUTING,
        "queries = F.normalize(interests, dim=2) if is_cosine",
        "queries = interests if is_cosine",
        TUNED, IN_TUNED + "test_the_coupling_does_not_depend_on_the_length_of_the_embeddings",
    ),
    mutant(
        "cosine agreement without the map", ROUTING,
        "keys, scale = votes, scale *", "keys, scale = behaviors, scale *",
        TUNED,
    ),
    mutant(
        "agreement without inverse temperature", ROUTING,
        "keys, scale = behaviors, config.inverse_temperature", "keys, scale = behaviors, 1.0",
        TUNED,
    ),
    mutant(
        "values ignored", ROUTING,
        "values = behaviors if values is None else values", "values = behaviors",
        IN_TUNED + "test_the_coupling_does_not_depend_on_the_values",
        IN_VECTOR + "test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode",
    ),
    mutant(
        "words not shared out by the root of their number", POOLING,
        'power = -0.5 if pooling == "sum" else -1.0', "power = 0.0",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "words shared out by their number", POOLING,
        'power = -0.5 if pooling == "sum" else -1.0', "power = -1.0",
        IN_POOLING + "test_a_field_with_several_values_counts_once",
        SUMS, IN_SUMS + "test_any_catalogue_equals_plain_python",
    ),
    mutant(
        "a sum without its weights", POOLING,
        "self.codes[items], self.slot_weights[items]",
        "self.codes[items], torch.ones_like(self.slot_weights[items])",
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
        '_drop_unique_values(values) if pooling == "sum" else values',
        "_drop_unique_values(values)",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
    ),
    # Eq. 9: how many interests
    mutant(
        "number of interests rounded up", ROUTING,
        "(lengths[..., None] >= powers)", "(lengths[..., None] > powers // 2)",
        K_TABLE, K_BY_HAND, ALGORITHM_1,
    ),
    mutant(
        "number of interests by the natural logarithm", ROUTING,
        "(lengths[..., None] >= powers)", "(lengths[..., None] >= 2.718281828 ** powers.log2())",
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
    mutant(
        "inactive interests attended", ATTENTION,
        ".masked_fill(~active, -torch.inf).softmax(1)", ".softmax(1)",
        ATTENDED,
    ),
    mutant(
        "inactive interests masked after the softmax", ATTENTION,
        ".masked_fill(~active, -torch.inf).softmax(1)", ".softmax(1) * active",
        ATTENDED,
    ),
    mutant(
        "inactive interests attended by the argmax", ATTENTION,
        "scores.masked_fill(~active, -torch.inf).argmax(1)", "scores.argmax(1)",
        ATTENDED,
    ),
    # §3.4: attention
    mutant(
        "power ignored", ATTENTION,
        "(scores * power)", "scores",
        IN_ATTENTION + "test_weights_follow_the_formula_and_grow_with_the_score",
        IN_ATTENTION + "test_power_zero_is_the_mean_of_active_interests",
    ),
    mutant(
        "power divides the scores", ATTENTION,
        "(scores * power)", "(scores / power)",
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
        "power of the score as printed", ATTENTION,
        "(scores * power)", "scores.pow(power)",
        IN_ATTENTION + "test_p_multiplies_the_score_so_that_a_negative_one_loses",
        IN_ATTENTION + "test_a_large_power_approaches_the_argmax",
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
        "weights / known.clip(1)", "weights / len(slots)",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
    ),
    mutant(
        "each value of a field counted like a field in a mean", POOLING,
        "(slot > 0).any(1, keepdims=True)", "(slot > 0).sum(1, keepdims=True)",
        IN_POOLING + "test_a_field_with_several_values_counts_once",
    ),
    mutant(
        "unknown features looked up as an item", POOLING,
        "np.where(values > 0, values + rows - 1, 0)", "values + rows - 1",
        IN_POOLING + "test_an_item_is_the_mean_of_its_id_and_its_known_features",
    ),
    # Serving
    mutant(
        "logits drawn in the export", INITIAL_LOGITS,
        "return sigma * torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)",
        "return sigma * torch.randn_like(first)",
        IN_EXPORT + "test_nothing_is_drawn_and_nothing_kept_between_calls",
    ),
]  # fmt: skip
