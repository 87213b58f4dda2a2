"""The registry under random promotions, rollbacks, kills and damage to its pointer."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mindlib.online.refresh import ConcurrentUpdate, Follower, Registry

pytestmark = pytest.mark.slow

WORDS = st.text("abc", max_size=3)
DAMAGE = st.sampled_from(
    ["", "{", "[]", "null", "[" * 50_000, '{"format": "mindlib registry 2"}', "\x00", '"current"']
) | st.text(max_size=20)


class Killed(BaseException):
    """Stands for kill -9."""


class RegistryMachine(RuleBasedStateMachine):
    """Compares a registry, and a server that follows it, with the lists of its versions."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.no_sync = patch("os.fsync")  # waiting for the disk would take most of the time
        self.no_sync.start()
        self.registry = Registry(self.home / "registry")
        self.pointer = self.registry.folder / "current"
        self.content: dict[int, str] = {}  # of every version whose folder was renamed
        self.rejected: list[int] = []
        self.served: list[int] = []
        self.rolled_back: list[int] = []
        self.foreign: list[Path] = []
        self.is_readable = True
        self.whole = ""  # the last undamaged pointer
        self.deployed: list[int] = []
        self.follower = Follower(self.registry, self.deployed.append)  # pyright: ignore

    def teardown(self) -> None:
        self.no_sync.stop()
        shutil.rmtree(self.home)

    def _make(self, word: str, *, fate: str = "served") -> None:
        """Refresh; the fate is "served", "rejected", "overtaken" or where it is killed."""
        if not self.is_readable:
            with (
                pytest.raises(ValueError, match="versions") as error,
                self.registry.refresh_lock(),
            ):
                pass
            for number in (*self.content, *self.rejected):
                assert str(number) in str(error.value)
            return
        expected = {"served": nullcontext(), "overtaken": pytest.raises(ConcurrentUpdate)}
        number, staged = 0, Path()
        with ExitStack() as stack:
            stack.enter_context(expected.get(fate) or pytest.raises(Killed))
            stack.enter_context(self.registry.refresh_lock())  # it may write a first pointer
            if fate == "killed before the pointer":
                failing = patch.object(Registry, "_write_pointer", side_effect=Killed)
                stack.enter_context(failing)
            number, folder, facts = stack.enter_context(self.registry.new_version())
            assert number not in self.content
            assert number not in self.rejected
            (folder / "word").write_text(word)
            facts["word"] = word
            if fate == "rejected":
                self.registry.reject(number, {"reasons": [word]})
                self.rejected.append(number)
                raise Killed
            if fate == "overtaken":
                self.roll_back()
            if fate == "killed before the rename":
                staged = folder.parent
                shutil.copytree(staged, self.home / "staged")
                raise Killed
        if fate == "killed before the rename":  # put back what an exception has removed
            (self.home / "staged").rename(staged)
            staged.with_suffix(".lock").touch()
        elif fate in ("served", "killed before the pointer"):
            self.content[number] = word
            self.served += [number] if fate == "served" else []

    @rule(word=WORDS)
    def serve(self, word: str) -> None:
        self._make(word)

    @rule(word=WORDS)
    def reject(self, word: str) -> None:
        self._make(word, fate="rejected")

    @rule(word=WORDS, step=st.sampled_from(["rename", "pointer"]))
    def kill(self, word: str, step: str) -> None:
        self._make(word, fate=f"killed before the {step}")

    @precondition(lambda self: len(self.served) > 1)
    @rule(word=WORDS)
    def overtake(self, word: str) -> None:
        self._make(word, fate="overtaken")

    @rule()
    def roll_back(self) -> None:
        if not self.is_readable or len(self.served) < 2:
            with pytest.raises(ValueError, match=r"previous version|versions"):
                self.registry.rollback()
        else:
            self.rolled_back.append(self.served.pop())
            assert self.registry.rollback() == self.served[-1]

    @rule(name=st.sampled_from(["backup", ".partial", ".x.partial", "0001 (copy)", "12", "٣٣٣٣"]))
    def add_foreign_folder(self, name: str) -> None:
        for parent in (self.registry.folder, self.registry.versions, self.registry.rejected):
            (parent / name).mkdir(exist_ok=True)
            (parent / name / "content").write_text("mine")
            self.foreign.append(parent / name / "content")

    @precondition(lambda self: self.content or self.rejected)
    @rule(damage=st.none() | DAMAGE)
    def damage_pointer(self, damage: str | None) -> None:
        if damage is None:
            self.pointer.unlink(missing_ok=True)
        else:
            self.pointer.write_text(damage, encoding="utf-8")
        self.is_readable = False

    @precondition(lambda self: not self.is_readable)
    @rule(keep_all=st.booleans())
    def follow_the_message(self, keep_all: bool) -> None:
        with pytest.raises(ValueError, match="versions") as error:
            self.registry.current()
        message = str(error.value)
        content = json.loads(message[message.index('{"format"') :])
        assert content["served"] == sorted(self.content)
        if not keep_all:
            content["served"] = content["served"][-1:]
        self.pointer.write_text(json.dumps(content))
        self.served, self.rolled_back, self.is_readable = content["served"], [], True

    @precondition(lambda self: not self.is_readable and self.whole)
    @rule()
    def restore_a_copy(self) -> None:
        self.pointer.write_text(self.whole)
        self.is_readable = True

    @invariant()
    def nothing_is_lost_and_the_follower_serves_the_current_version(self) -> None:
        registry = self.registry
        for number, word in self.content.items():
            assert (registry.path(number) / "word").read_text() == word
        assert all(path.read_text() == "mine" for path in self.foreign)
        before = self.follower.serving
        with patch("mindlib.online.refresh.follower.load_version", lambda _, number: number):
            self.follower.poll()
        if not self.is_readable:
            assert isinstance(self.follower.error, ValueError)
            assert self.follower.serving == before
            return
        assert self.follower.error is None
        current = self.served[-1] if self.served else None
        assert registry.current() == current
        if current is not None:
            assert self.follower.serving == self.deployed[-1] == current
        states = dict.fromkeys(self.content, "not served")
        states |= dict.fromkeys(self.served, "served before")
        states |= dict.fromkeys(self.served[-1:], "current")
        states |= dict.fromkeys(self.rolled_back, "rolled back")
        states |= dict.fromkeys(self.rejected, "rejected")
        assert {record.number: record.state for record in registry.history()} == states
        if self.pointer.exists():
            self.whole = self.pointer.read_text()


TestRegistry = RegistryMachine.TestCase
EXAMPLES = max(1, settings().max_examples // 4)
TestRegistry.settings = settings(max_examples=EXAMPLES, stateful_step_count=20)
