"""Mutants of retrieval: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

RETRIEVAL = "retrieval/scores.py"
INDEX = "retrieval/index.py"
ENGINES = "retrieval/engines.py"
TENSOR_FILE = "data/tensor_file.py"
FAISS = "retrieval/faiss.py"
INT8 = "retrieval/int8.py"
EXACT = "retrieval/exact.py"
IN_MODELS = "models/test_models.py::"
IN_RETRIEVAL = "retrieval/test_scores.py::"
IN_INDEX = "retrieval/test_index.py::"
IN_INDEX_FILES = "retrieval/test_files.py::"
IN_INT8 = "retrieval/test_int8.py::"
IN_RANKING = "retrieval/test_ranking.py::"
IN_FAISS = "retrieval/test_faiss.py::"

MUTANTS = [
    mutant(
        "inactive interests searched at serving", RETRIEVAL,
        "interests = torch.where(active[:, :, None], interests, interests[:, :1])", "pass",
        IN_RETRIEVAL + "test_the_score_is_the_best_active_interest",
    ),
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
        "padding recommended", RETRIEVAL,
        "scores[:, 0] = -torch.inf", "pass",
        IN_RETRIEVAL + "test_padding_is_never_recommended",
    ),
    mutant(
        "an item twice in a merged list", RETRIEVAL,
        "is_left_out[:, 1:] |= by_item[:, 1:] == by_item[:, :-1]", "pass",
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
        "self.nearest(interests[active], n, owners)",
        "(v.unflatten(0, active.shape)[active]\n"
        "                for v in self.nearest(interests.nan_to_num().flatten(0, 1), n,\n"
        "                    torch.arange(active.numel()) // active.shape[1]))",
        IN_INDEX + "test_only_active_interests_reach_the_engine_and_in_one_call",
    ),
    mutant(
        "no more fetched for a long past", INDEX,
        "widths = (n + torch.bincount(", "widths = (n + 0 * torch.bincount(",
        IN_INDEX + "test_a_long_past_does_not_shorten_the_list",
        IN_INDEX + "test_search_equals_brute_force",
    ),
    mutant(
        "history not excluded from an index's list", INDEX,
        "scores.masked_fill(excluded[position] == retrieved, -torch.inf)", "scores",
        IN_INDEX + "test_a_long_past_does_not_shorten_the_list",
    ),
    mutant(
        "an index of another catalogue loaded", ENGINES,
        'if built_from and digest_items(*built_from) != facts["source"]:', "if False:",
        IN_INDEX_FILES + "test_an_index_of_other_vectors_is_refused",
    ),
    mutant(
        "a damaged index loaded", TENSOR_FILE,
        'if _digest(metadata["facts"], tensors) != metadata["sha256"]:', "if False:",
        IN_INDEX_FILES + "test_a_flipped_bit_anywhere_is_refused",
    ),
    mutant(
        "the lists of one user's interests do not compete", FAISS,
        "skipped = torch.from_numpy(coarse) < last[row]",
        "skipped = torch.arange(wide).expand(len(row), -1) >= nprobe",
        IN_FAISS + "test_the_lists_scanned_are_the_best_pairs_of_interest_and_centroid",
        IN_FAISS + "test_competing_finds_more_of_a_user_with_one_strong_interest",
    ),
    mutant(
        "items lost by rounding to int8", INT8,
        "values.amin(1) - 2 * bound", "values.amin(1) - 0 * bound",
        IN_INT8 + "test_one_item_that_is_a_thousand_times_as_long_hides_no_other",
        IN_RANKING + "test_ranking_equals_brute_force",
    ),
    mutant(
        "int8 where its products overflow", INT8,
        "return torch.equal(product.double(), queries.double() @ items.double().T)", "return True",
        IN_INT8 + "test_float32_is_used_where_int8_is_missing_wrong_or_slow",
    ),
    mutant(
        "history not excluded in int8", EXACT,
        "if exclude_history:", "if False:",
        IN_RANKING + "test_ranking_equals_brute_force",
    ),
    mutant(
        "inactive interests ranked in int8", EXACT,
        "torch.where(active[:, :, None], vectors, vectors[:, :1])", "vectors",
        IN_RANKING + "test_ranking_equals_brute_force",
    ),
]  # fmt: skip
