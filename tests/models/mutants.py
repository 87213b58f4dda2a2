"""Mutants of the models: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

COMIREC = "models/comirec.py"
HEAD = "models/head.py"
COUNTS = "models/interaction_counts.py"
FACTORIZATION = "models/factorization.py"
MAXMF = "models/maxmf.py"
MIND = "models/mind.py"
SASREC = "models/sasrec.py"
VECTOR = "models/vector_model.py"
EXACT = "retrieval/exact.py"
YOUTUBE = "models/youtube_dnn.py"
IN_VECTOR = "models/test_vector_model.py::"
IN_MODELS = "models/test_models.py::"
IN_COMPARED = "models/test_compared.py::"
IN_COMIREC = "models/test_comirec.py::"
IN_MAXMF = "models/test_maxmf.py::"
IN_SASREC = "models/test_sasrec.py::"
IN_FACTORIZATION = "models/test_factorization.py::"
IN_MIND_RULES = "models/test_mind_rules.py::"
DECIDED = IN_VECTOR + "test_what_goes_into_which_interest_is_decided_before_anything_is_dropped"
REPRODUCIBLE = IN_MODELS + "test_evaluation_is_reproducible_whatever_else_is_in_the_batch"
REDRAWS = IN_MODELS + "test_training_redraws_the_logits_and_evaluation_does_not"
DEVIATION = IN_MODELS + "test_training_logits_have_the_deviation_sigma"

RECENCY = IN_MIND_RULES + "test_recency_weights_multiply_the_coupling_by_the_place_from_the_end"

MUTANTS = [
    mutant(
        "recency counted from the oldest behavior", VECTOR,
        "(mask.sum(1, keepdim=True) - 1 - order).clamp(min=0)", "order.expand(mask.shape)",
        RECENCY,
        IN_SASREC + "test_the_user_vector_equals_the_blocks_by_hand",
    ),
    mutant(
        "recency weights without effect on the capsules", MIND,
        "values=values, weights=weights)", "values=values)",
        RECENCY,
    ),
    mutant(
        "zero initial logits in training", MIND,
        "return routing.sigma * noise", "return 0 * noise",
        REDRAWS, DEVIATION,
        IN_MIND_RULES + "test_the_interests_of_a_user_differ_in_training_and_in_evaluation",
    ),
    mutant(
        "sigma ignored in training", MIND,
        "return routing.sigma * noise", "return noise",
        DEVIATION,
    ),
    mutant(
        "logits redrawn in evaluation", MIND,
        "seed=self.config.evaluation_seed,", "seed=int(torch.randint(1 << 30, ())),",
        REPRODUCIBLE, REDRAWS,
    ),
    mutant(
        "logits not redrawn in training", MIND,
        "if generator is None:", "if True:",
        REDRAWS,
    ),
    mutant(
        "noise in farthest-point initialization", MIND,
        'if routing.initial_logits == "farthest":', "if False:",
        IN_VECTOR + "test_at_rate_0_nothing_is_drawn",
        IN_VECTOR + "test_without_dropout_training_and_evaluation_give_the_same_vectors",
    ),
    mutant(
        "coupling decided on dropped behaviours", MIND,
        "self.routing(behaviors, history.mask, logits, values=values, weights=weights)",
        "self.routing(values, history.mask, logits, weights=weights)",
        DECIDED,
    ),
    mutant(
        "self-attention on dropped behaviours", COMIREC,
        "        keys = behaviors\n",
        "        keys = behaviors = self.apply_dropout(behaviors, generator)\n",
        DECIDED,
    ),
    mutant(
        "dynamic routing of dropped behaviours", COMIREC,
        "        votes = torch.einsum(\"bld,lked->bkle\", behaviors, self.maps[:length])\n",
        "        behaviors = self.apply_dropout(behaviors, generator)\n"
        "        votes = torch.einsum(\"bld,lked->bkle\", behaviors, self.maps[:length])\n",
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
        "((uniform >= rate) / (1 - rate))", "(uniform >= rate)",
        IN_VECTOR + "test_in_the_mean_over_many_draws_nothing_is_lost",
        IN_VECTOR + "test_a_value_is_dropped_or_grows_by_what_the_others_lose",
    ),
    mutant(
        "dropout of behaviours from the global generator", VECTOR,
        "uniform = torch.rand(behaviors.shape, generator=generator, device=generator.device)",
        "uniform = torch.rand(behaviors.shape)",
        IN_VECTOR + "test_what_is_dropped_comes_from_the_generator_alone",
    ),
    mutant(
        "random numbers used up without dropout", VECTOR,
        "if generator is None or not rate:", "if generator is None:",
        IN_VECTOR + "test_at_rate_0_nothing_is_drawn",
    ),
    mutant(
        "YouTube DNN without dropout", YOUTUBE,
        "mean_of_behaviors(self.apply_dropout(behaviors, generator), history)",
        "mean_of_behaviors(behaviors, history)",
        IN_VECTOR + "test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode",
    ),
    mutant(
        "residual missing", HEAD,
        'return vectors + output if self.kind == "residual" else output', "return output",
        IN_VECTOR + "test_a_residual_head_starts_near_the_identity",
        IN_VECTOR + "test_a_residual_head_adds_to_the_vectors_of_the_model_without_head",
    ),
    mutant(
        "a residual head that is not almost the identity", HEAD,
        "last.weight.mul_(RESIDUAL_INIT_SCALE)", "last.weight.mul_(1)",
        IN_VECTOR + "test_a_residual_head_starts_near_the_identity",
    ),
    mutant(
        "title words unasked for", VECTOR,
        "encode_titles(log.titles) if config.title_words and log.titles else None",
        'encode_titles(log.titles) if config.pooling == "sum" and log.titles else None',
        IN_VECTOR + "test_a_model_is_built_as_its_configuration_says",
    ),
    mutant(
        "the paper's form without its routing", MIND,
        '{"routing": RoutingConfig.paper(), "power": 2.0}', '{"power": 2.0}',
        IN_VECTOR + "test_minds_presets_field_by_field",
    ),
    # Interests that a user does not have
    mutant(
        "inactive interests given a vector by the head", MIND,
        "history) * capsules.active[:, :, None]", "history)",
        IN_MODELS + "test_inactive_interests_are_zero_after_the_head",
    ),
    mutant(
        "power of the configuration ignored", MIND,
        "self.power = self.config.power", "self.power = 1.0",
        IN_MIND_RULES + "test_training_sees_the_user_through_the_power_of_the_configuration",
    ),
    mutant(
        "mean over positions instead of behaviours in YouTube DNN", YOUTUBE,
        "history.mask.sum(1, keepdim=True).clamp(min=1)", "history.mask.shape[1]",
        IN_MODELS + "test_youtube_dnn_takes_the_mean_over_behaviors_and_not_over_places",
    ),
    mutant(
        "history always excluded", EXACT,
        "items, histories.to(items.device), n, exclude_history=exclude_history",
        "items, histories.to(items.device), n, exclude_history=True",
        IN_MIND_RULES + "test_the_history_may_be_recommended_where_that_is_asked_for",
    ),
    # §4.2: what MIND is compared with
    mutant(
        "the mean of MaxMF over positions", MAXMF,
        "mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)",
        "mean = self.apply_dropout(behaviors, generator).mean(1)",
        IN_MAXMF + "test_each_vector_is_a_map_of_the_mean",
    ),
    mutant(
        "positions in what self-attention averages", COMIREC,
        "weights @ self.apply_dropout(behaviors, generator)", "weights @ keys",
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
        "one matrix for all positions of ComiRec-DR", COMIREC,
        "behaviors, self.maps[:length])", "behaviors, self.maps[:1].expand(length, -1, -1, -1))",
        IN_COMIREC + "test_dynamic_routing_equals_its_algorithm",
    ),
    mutant(
        "gradient through the coupling of ComiRec-DR", COMIREC,
        "with torch.no_grad():", "if True:",
        IN_COMIREC + "test_no_gradient_runs_through_the_coupling_of_dynamic_routing",
    ),
    mutant(
        "soft readout", VECTOR,
        "labels, self.power)", "labels, 1.0)",
        IN_COMPARED + "test_the_label_meets_the_interest_that_scores_it_best",
    ),
    mutant(
        "SASRec sees what comes later", SASREC,
        "mask=is_later, is_causal=True", "mask=None, is_causal=False",
        IN_SASREC + "test_the_user_vector_equals_the_blocks_by_hand",
        IN_COMPARED + "test_padding_changes_nothing",
    ),
    mutant(
        "dropout in evaluation", SASREC,
        "self.blocks.train(is_training)", "pass",
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
        IN_FACTORIZATION + "test_a_user_vector_solves_the_normal_equations_of_the_history",
    ),
    mutant(
        "held out events factorised", COUNTS,
        "log, is_training = split.log, split.train_events",
        "log, is_training = split.log, split.train_events | True",
        IN_FACTORIZATION + "test_it_learns_from_training_events_only",
    ),
]  # fmt: skip
