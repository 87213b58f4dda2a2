"""Users are divided by a hash: stable, even, and independently of any other experiment."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mindlib.online.simulation import Experiment
from mindlib.online.simulation.assignment import uniform
from tests.conftest import unchecked

MODULUS = 2**64
USERS = np.arange(1, 20_001)
TWO = Experiment("one test", ("a", "b"))


def arm_of(experiment: Experiment, users: np.ndarray) -> np.ndarray:
    return experiment.members(np.r_[0, users])[:, 1:].argmax(0)


def splitmix(x: int) -> int:
    """Plain Python, from the algorithm's description."""
    x = (x + 0x9E3779B97F4A7C15) % MODULUS
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % MODULUS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % MODULUS
    return x ^ (x >> 31)


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**62), max_size=4))
def test_the_hash_is_splitmix_of_one_key_after_the_other(seed, keys):
    state = splitmix(seed)
    for key in keys:
        state = splitmix(state ^ key)
    assert float(uniform(seed, *keys)) == (state >> 11) / 2**53


def test_a_name_is_hashed_as_written_here_for_ever():
    salt = int.from_bytes(hashlib.blake2b(b"one test", digest_size=8).digest(), "little")
    assert arm_of(TWO, USERS).tolist() == (uniform(salt, USERS) >= 0.5).tolist()


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=30))
def test_an_arm_depends_on_the_user_alone(users):
    together = arm_of(TWO, np.array(users))
    alone = [int(arm_of(TWO, np.array([user]))[0]) for user in users]
    assert together.tolist() == alone


@pytest.mark.parametrize("shares", [(), (0.1, 0.2, 0.7)])
def test_arms_have_their_shares(shares):
    experiment = Experiment("shares", ("a", "b", "c"), shares)
    counts = np.bincount(arm_of(experiment, USERS), minlength=3)
    expected = np.array(shares or (1 / 3, 1 / 3, 1 / 3)) * len(USERS)
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert counts.sum() == len(USERS)


def test_two_experiments_divide_the_users_independently():
    other = Experiment("one test, again", ("a", "b"))
    table = np.zeros((2, 2))
    np.add.at(table, (arm_of(TWO, USERS), arm_of(other, USERS)), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3  # pyright: ignore
    assert table.min() > 0.23 * len(USERS)


def test_members_are_the_assigned_and_padding_is_nobodys():
    ids = np.array([None, 7, 900, 12], dtype=object)
    members = TWO.members(ids)
    assert members.shape == (2, 4)
    assert members.sum(0).tolist() == [0, 1, 1, 1]
    assert members[:, 1:].argmax(0).tolist() == arm_of(TWO, np.array([7, 900, 12])).tolist()


def test_text_ids_are_refused_because_their_value_is_hashed():
    ids = np.array(["", "7", "ann"], dtype=object)
    with pytest.raises(ValueError, match="user id '7': expected a whole number"):
        Experiment("test", ("a", "b")).members(ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ()}, "at least one arm"),
        ({"arms": ("a", "a")}, "each name once"),
        ({"arms": ("a", "b"), "shares": (1.0,)}, "one share above 0 for each"),
        ({"arms": ("a", "b"), "shares": (1.0, 0.0)}, "one share above 0 for each"),
        ({"arms": ("a", "b"), "shares": (0.5, 0.4)}, "expected a sum of 1, not 0.9"),
    ],
)
def test_impossible_experiments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(Experiment, name="x", **options)
