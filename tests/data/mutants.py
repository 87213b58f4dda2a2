"""Mutants of the data: each breaks one rule, and the tests that it names must fail."""

from tests.mutants import mutant

SPLITS = "data/splits.py"
WORDS = "data/title_words.py"
FILES = "data/readers/files.py"
IN_BAD_FILES = "data/test_bad_files.py::"
IN_WORDS = "data/test_title_words.py::"
IN_SPLITS = "data/test_splits.py::"
LEAVE_LAST_OUT = IN_SPLITS + "test_no_leakage_leave_last_out"

MUTANTS = [
    mutant(
        "words of a single title kept", WORDS,
        ".filter(pl.len().over(\"word\") >= MIN_TITLES)", ".filter(pl.len() >= MIN_TITLES)",
        IN_WORDS + "test_words_of_too_few_titles_are_left_out",
        IN_WORDS + "test_titles_that_are_ids_have_no_words",
    ),
    mutant(
        "words not lower-cased", WORDS,
        ".str.to_lowercase()", "",
        IN_WORDS + "test_case_does_not_matter",
    ),
    mutant(
        "accents cut words in two", WORDS,
        '.str.normalize("NFKC")', "",
        IN_WORDS + "test_words_of_all_scripts_are_normalized",
    ),
    # Readers
    mutant(
        "lone carriage returns taken as white space", FILES,
        r'rb"\0|\r(?!\n|\Z)"', r'rb"\0"',
        IN_BAD_FILES + "test_a_bad_file_is_refused",
    ),
    mutant(
        "two events within a second merged into one step", "data/timestamps.py",
        'pl.len().over("user", "second") > 1', 'pl.len().over("user", "second") > 9',
        IN_BAD_FILES + "test_fractions_of_seconds_are_dropped_unless_they_separate_events",
    ),
    mutant(
        "a date that begins with the day read", FILES,
        r'r"^\d{4}\D"', 'r""',
        IN_BAD_FILES + "test_a_bad_file_is_refused",
    ),
    # Splits
    mutant(
        "a target's own basket in its history", SPLITS,
        "last = log.step_starts(ends - 1)", "last = ends - 1",
        LEAVE_LAST_OUT, IN_SPLITS + "test_leave_last_out_keeps_steps_whole",
    ),
    mutant(
        "a target's own basket in the history of a held out user", SPLITS,
        "cut = log.step_starts(np.minimum(cut, ends - 1))", "cut = np.minimum(cut, ends - 1)",
        IN_SPLITS + "test_no_leakage_held_out_users",
    ),
    mutant(
        "a target's own basket in the history of the random split", SPLITS,
        "np.r_[0, np.cumsum(visible)][log.step_starts(np.arange(len(log)))]",
        "np.r_[0, np.cumsum(visible)][:-1]",
        IN_SPLITS + "test_no_leakage_random",
    ),
    mutant(
        "the first step of a user as a training case", SPLITS,
        "np.diff(users[starts]) == 0]", "np.diff(users[starts]) >= 0]",
        LEAVE_LAST_OUT,
    ),
    mutant(
        "held-out events used for training", SPLITS,
        "changes[second[held_out]] = 1", "changes[last[held_out]] = 1",
        LEAVE_LAST_OUT,
    ),
    mutant(
        "popularity counts held-out events", SPLITS,
        "self.log.items[block][self.train_events[block]]", "self.log.items[block]",
        LEAVE_LAST_OUT,
    ),
]  # fmt: skip
