"""Mutants of training: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

TENSOR_FILE = "data/tensor_file.py"
CONFIG = "training/config.py"
EPOCHS = "training/epochs.py"
CHECKPOINTS = "training/checkpoints.py"
DISTRIBUTED = "training/distributed.py"
LOSSES = "training/losses.py"
SAMPLING = "training/sampled_softmax.py"
STEPS = "training/step.py"
TRAINING = "training/fitting.py"
IN_STEPS = "training/test_step.py::"
IN_LOSSES = "training/test_losses.py::"
IN_TRAINING = "training/test_fitting.py::"
IN_TRAINING_RULES = "training/test_training_rules.py::"
IN_CHECKPOINTS = "training/test_checkpoints.py::"
IN_SAMPLING = "training/test_sampled_softmax.py::"
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

MUTANTS = [
    # The other losses, in a step
    mutant(
        "the candidate-aware loss ignored", STEPS,
        'if config.loss == "candidate":', "if False:",
        IN_STEPS + "test_by_default_every_candidate_attends_to_the_interests_itself",
    ),
    mutant(
        "hardness ignored", STEPS,
        "elif config.hardness:", "elif False:",
        IN_STEPS + "test_hard_negatives_are_those_of_the_interest_that_the_label_chose",
    ),
    mutant(
        "the penalty on routing ignored", STEPS,
        "loss = loss + share * routing_penalty(", "loss = loss + 0 * routing_penalty(",
        IN_STEPS + "test_the_penalty_is_added_to_the_loss_and_learnt_from",
    ),
    mutant(
        "the penalty on routing is a constant", STEPS,
        "routing_penalty(part.coupling, history.mask)",
        "routing_penalty(part.coupling.detach(), history.mask)",
        IN_STEPS + "test_the_penalty_is_added_to_the_loss_and_learnt_from",
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
        "logQ off by default", CONFIG,
        "logq: bool = True", "logq: bool = False",
        LOGQ_IN_STEP,
    ),
    mutant(
        "accidental hits kept", SAMPLING,
        "f[hit_users[here] - start, 1 + hit_columns[here]] = -torch.inf", "pass",
        IN_TRAINING + "test_an_accidental_hit_is_not_counted",
        IN_TRAINING + "test_only_hits_among_the_negatives_leave_a_loss_of_zero",
    ),
    mutant(
        "the last epoch kept instead of the best", EPOCHS,
        "model.load_state_dict(state.best_weights)", "pass",
        BEST_EPOCH,
    ),
    mutant(
        "the weights of the best epoch trained on", EPOCHS,
        "self.best_weights = copy.deepcopy(self.model.state_dict())",
        "self.best_weights = self.model.state_dict()",
        BEST_EPOCH,
    ),
    mutant(
        "in-batch negatives corrected as if they were drawn", SAMPLING,
        "(len(sampled) * q + (len(in_batch) - 1) * p).log()", "(len(ids) * q).log()",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "in-batch negatives corrected by their own source alone", SAMPLING,
        "(len(sampled) * q + (len(in_batch) - 1) * p).log()",
        "torch.cat([(len(sampled) * q)[: len(sampled)],\n"
        "            ((len(in_batch) - 1) * p)[len(sampled) :].clamp(min=1)]).log()",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "in-batch negatives not corrected", SAMPLING,
        "(len(sampled) * q + (len(in_batch) - 1) * p).log()", "0 * q",
        MIXED, MIXED_IN_STEP,
    ),
    mutant(
        "accidental hits kept in the batch, the own place apart", SAMPLING,
        "    return rows, columns\n",
        "    place = columns - (len(negative_ids) - len(target_ids))\n"
        "    kept = (place < 0) | (place == rows)\n"
        "    return rows[kept], columns[kept]\n",
        IN_SAMPLING + "test_in_a_batch_every_occurrence_of_a_users_target_is_an_accidental_hit",
        MIXED_IN_STEP,
    ),
    mutant(
        "a basket counts as many pairs as it has items", SAMPLING,
        "np.repeat(weights / sizes, sizes)", "np.full(sizes.sum(), 1.0)",
        IN_SAMPLING + "test_a_basket_counts_as_one_pair",
    ),
    mutant(
        "in-batch negatives by default", CONFIG,
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
        "(loss * (len(batch.targets) / len(batch.global_targets))).backward()",
        "(loss / 2).backward()",
        TWO_AS_ONE,
    ),
    mutant(
        "in-batch negatives of the own part only", STEPS,
        "yield Batch(block.histories.select(shard), targets[shard], global_targets)",
        "yield Batch(block.histories.select(shard), targets[shard], targets[shard])",
        TWO_AS_ONE,
    ),
    # Checkpoints
    mutant(
        "the generator not restored", CHECKPOINTS,
        'state.generator.set_state(tensors["generator"])', "pass",
        INTERRUPTED,
    ),
    mutant(
        "the optimisers not restored", CHECKPOINTS,
        'optimizer.load_state_dict({"state": values, "param_groups": groups})', "pass",
        INTERRUPTED,
    ),
    mutant(
        "the step counts of the optimisers not restored", CHECKPOINTS,
        "values.setdefault(int(index), {})[key] = value.to(device)",
        'values.setdefault(int(index), {})[key] = value.to(device) * (key != "step")',
        INTERRUPTED,
    ),
    mutant(
        "the schedule begun anew", TRAINING,
        "len(state.log) * steps", "0",
        INTERRUPTED,
    ),
    mutant(
        "the last weights taken for the best after an interruption", CHECKPOINTS,
        '_below(tensors, "best.") or _below(tensors, "model.")', '_below(tensors, "model.")',
        PATIENCE,
    ),
    mutant(
        "patience begun anew after an interruption", CHECKPOINTS,
        'state.best_epoch = facts["best_epoch"]', 'state.best_epoch = len(facts["log"])',
        PATIENCE,
    ),
    mutant(
        "a checkpoint written under its final name", TENSOR_FILE,
        "save_file(tensors, partial, metadata)",
        "save_file(tensors, path, metadata)\n"
        "            partial.write_bytes(path.read_bytes())",
        KILLED,
    ),
    mutant(
        "earlier checkpoints deleted before the next is written", CHECKPOINTS,
        "write_tensors(self.path(epoch), FORMAT, content)",
        "for older in self.epochs():\n"
        "            self.path(older).unlink()\n"
        "        write_tensors(self.path(epoch), FORMAT, content)",
        KILLED,
    ),
    mutant(
        "a checkpoint's content not checked", TENSOR_FILE,
        'if _digest(metadata["facts"], tensors) != metadata["sha256"]:', "if False:",
        IN_CHECKPOINTS + "test_a_flipped_bit_is_refused",
        IN_CHECKPOINTS + "test_a_damaged_file_is_named_before_anything_is_trained",
    ),
    mutant(
        "the first interest in the loss of the best", SAMPLING,
        "torch.maximum(highest, own, out=highest)", "pass",
        IN_LOSSES + "test_every_item_is_scored_by_its_own_best_active_interest",
        IN_LOSSES + "test_sharing_the_catalogue_pays_in_eq_10_and_not_here",
    ),
    mutant(
        "hard negatives weighed by the mean over what was drawn", LOSSES,
        "log_weights = log_weight.expand_as(scores)", "log_weights = torch.zeros_like(scores)",
        IN_LOSSES + "test_with_logq_it_converges_to_the_same_loss_whatever_the_proposal",
    ),
    mutant(
        "padding in the penalty on routing", LOSSES,
        "mean[:, :, None]).square() * present)", "mean[:, :, None]).square())",
        IN_LOSSES + "test_the_penalty_is_the_squared_variance_over_the_behaviors",
    ),
]  # fmt: skip
