"""Tests of the harness that need no machine: a bash of this computer stands for a guest's shell."""

from __future__ import annotations

import socket
import subprocess
import unittest

from harness.calls import Calls, retry
from harness.errors import MachineError, TestFailure
from harness.network import Network
from harness.shell import READY, Shell


class LocalShell(unittest.TestCase):
    """The protocol of the shell, spoken with a real one."""

    def setUp(self) -> None:
        ours, theirs = socket.socketpair()
        self.bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
        )
        theirs.close()
        self.shell = Shell(ours)

    def tearDown(self) -> None:
        self.shell.close()
        self.bash.kill()
        self.bash.wait()

    def test_status_and_output_come_back_as_they_are(self) -> None:
        self.assertEqual(self.shell.execute("printf 'a b\\n\\nc'; exit 3", 10), (3, "a b\n\nc"))
        self.assertEqual(self.shell.execute("true", None), (0, ""))

    def test_a_failure_inside_fails_the_command(self) -> None:
        self.assertEqual(self.shell.execute("false; echo never", 10), (1, ""))
        self.assertEqual(self.shell.execute("false | cat", 10), (1, ""))
        self.assertEqual(self.shell.execute("echo $undefined", 10)[0], 1)

    def test_quotes_lines_and_length_do_not_matter(self) -> None:
        self.assertEqual(self.shell.execute("echo \"it's\"\necho '$HOME'", 10), (0, "it's\n$HOME\n"))
        self.assertEqual(self.shell.execute(f"printf {'x' * 100_000}", 10), (0, "x" * 100_000))
        self.assertEqual(self.shell.execute("head -c 300000 /dev/zero | tr '\\0' y", 10)[1], "y" * 300_000)

    def test_a_command_cannot_take_what_is_sent_next(self) -> None:
        self.assertEqual(self.shell.execute("cat", 10), (0, ""))
        self.assertEqual(self.shell.execute("echo next", 10), (0, "next\n"))

    def test_a_command_that_takes_too_long_is_ended(self) -> None:
        self.assertEqual(self.shell.execute("sleep 60", 1), (124, ""))
        self.assertEqual(self.shell.execute("echo next", 10), (0, "next\n"))

    def test_a_shell_that_ended_says_so(self) -> None:
        self.bash.kill()
        with self.assertRaisesRegex(MachineError, "ended|broke off|takes no commands"):
            self.shell.execute("true", 10)
        with self.assertRaisesRegex(MachineError, "is gone"):
            self.shell.execute("true", 10)

    def test_ready_is_found_behind_other_lines(self) -> None:
        self.shell.send(f"echo noise; echo; echo {READY.decode()!r}; echo behind")
        self.shell.wait_until_ready(10)

    def test_a_guest_that_does_not_boot_is_given_up(self) -> None:
        with self.assertRaisesRegex(MachineError, "did not answer within"):
            self.shell.wait_until_ready(0.1)


class Answers(Calls):
    """A machine that gives the answers it was told to give."""

    name = "fake"

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)

    def log(self, message: str) -> None:
        """Nobody reads it."""

    def execute(
        self, command: str, check_return: bool = True, check_output: bool = True, timeout: int | None = None
    ) -> tuple[int, str]:
        """The next answer; the last one for ever."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class AskedOfAMachine(unittest.TestCase):
    """The calls, against given answers."""

    def test_succeed_and_fail_mean_it(self) -> None:
        self.assertEqual(Answers((0, "a"), (0, "b")).succeed("one", "two"), "ab")
        self.assertEqual(Answers((1, "a")).fail("one"), "a")
        with self.assertRaisesRegex(TestFailure, "fake: must succeed: one: exit status 7, output: why"):
            Answers((7, "why")).succeed("one")
        with self.assertRaisesRegex(TestFailure, "it succeeded"):
            Answers((0, "")).fail("one")

    def test_waiting_ends_with_the_answer_waited_for(self) -> None:
        self.assertEqual(Answers((1, "no"), (0, "yes")).wait_until_succeeds("x", timeout=5), "yes")
        self.assertEqual(Answers((0, "no"), (1, "yes")).wait_until_fails("x", timeout=5), "yes")
        with self.assertRaisesRegex(TestFailure, "waiting for success: x: not within 1 s"):
            Answers((1, "")).wait_until_succeeds("x", timeout=1)

    def test_a_unit_that_will_never_be_active_fails_at_once(self) -> None:
        Answers((0, "ActiveState=activating\n"), (0, "ActiveState=active\n")).wait_for_unit("x", timeout=5)
        with self.assertRaisesRegex(TestFailure, "it has failed:\nwhy"):
            Answers((0, "ActiveState=failed\n"), (3, "why")).wait_for_unit("x", timeout=5)
        inactive = (0, "ActiveState=inactive\n")
        with self.assertRaisesRegex(TestFailure, "no pending jobs"):
            Answers(inactive, (0, "No jobs running.\n"), inactive).wait_for_unit("x", timeout=5)

    def test_the_last_try_counts(self) -> None:
        retry(lambda last: last, timeout_seconds=0)
        with self.assertRaises(TestFailure):
            retry(lambda _last: False, timeout_seconds=0)


class Addresses(unittest.TestCase):
    """Who has which address."""

    def test_they_are_numbered_by_name_in_each_network(self) -> None:
        network = Network.of({"gamma": [2], "alpha": [1, 2], "alone": []})
        self.assertEqual([link.address for link in network.links("alpha")], ["192.168.1.2", "192.168.2.2"])
        self.assertEqual([link.hardware for link in network.links("gamma")], ["52:54:00:12:02:03"])
        self.assertEqual(network.hosts(), [("192.168.1.2", "alpha"), ("192.168.2.3", "gamma")])


if __name__ == "__main__":
    unittest.main()
