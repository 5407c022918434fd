"""Whoever does what he is told: guests with the role `told`, their cards in rooms of their own, computers of the laboratory."""

from __future__ import annotations

import base64
import functools
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol as Shape

from tests.lab import wishes
from tests.lab.standing import Standing
from tests.lab.waiting import wait_for
from workers.contract.networks import NetworkSpec, NicSpec
from workers.contract.spec import MachineSpec


class Asker(Shape):
    """Somewhere to ask from."""

    def does(self, script: str) -> str:
        """What the lines of sh say there."""


_BLOCK = 4096


@dataclass(eq=False)
class Guest:
    """A running machine whose guest does what its disk says."""

    place: Standing
    machine: MachineSpec
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def does(self, script: str) -> str:
        host, machine_id = self.place.host, self.machine.machine_id
        with self._turn:
            self._number += 1
            number = str(self._number)
            with host.disk_file(machine_id, self.machine.disks[0]).open("r+b", buffering=0) as disk:
                for block, length, words in ((1, 4, script), (0, 1, number)):  # the number last
                    disk.seek(block * _BLOCK)
                    disk.write(words.encode().ljust(length * _BLOCK, b"\0"))
            wait_for("it is read", lambda: host.said(machine_id).get("took") == number, seconds=60)
        return base64.b64decode(host.heard(machine_id, f"did_{number}")).decode()

    def change(self, **changes: object) -> None:
        """The machine is another one while it runs."""
        self.machine = self.place.done(wishes.later(self.machine, **changes))

    def card(self, network: NetworkSpec) -> NicSpec:
        return next(nic for nic in self.machine.nics if nic.network == network)


@dataclass(frozen=True)
class Room:
    """A card of a guest and what is around it."""

    guest: Guest
    name: str
    nic: NicSpec
    four: str
    six: str

    def made(self) -> str:
        """The line of sh with which it is there."""
        return f"room {self.name} {self.nic.mac} {self.four}/24 {self.six}/64\n"

    def does(self, script: str) -> str:
        return self.guest.does(f"at {self.name} sh -c {shlex.quote(script)}")


_WORDS = """
page() { printf 'GET /page.txt HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 "$1" 8080; }
tcp() { busybox nc -w 2 "$1" "$2" </dev/null; }
udp() { timeout 2 bash -c 'exec 3<>"/dev/udp/$0/$1"
    until echo ask >&3 && timeout 1 dd bs=1500 count=1 <&3; do sleep 0.1; done 2>/dev/null' "$1" "$2"; }
"""


@dataclass(frozen=True)
class Namespace:
    """A computer of the laboratory; it knows the same words as the guests."""

    name: str

    def does(self, script: str) -> str:
        argv = ("ip", "netns", "exec", self.name, "sh", "-c", _WORDS + script)
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60).stdout


Questions = Mapping[str, tuple[Asker, Mapping[str, str]]]
"""What is asked by whom: a word for each, and a line of sh that ends well where it is answered."""


def settle(questions: Questions, expected: Mapping[str, set[str]]) -> None:
    """Exactly these are answered. Asked again where an answer is missing, since a loaded machine is slow."""
    found: dict[str, set[str]] = {}
    for _ in range(3):
        said = at_once(
            {name: functools.partial(_answered, who, asked) for name, (who, asked) in questions.items()}
        )
        found = {name: set(words.splitlines()) & set(questions[name][1]) for name, words in said.items()}
        if found == expected or any(found[name] - expected[name] for name in expected):
            break
    assert found == expected


def _answered(asker: Asker, questions: Mapping[str, str]) -> str:
    asked = [f"( {ask} ) </dev/null >/dev/null 2>&1 && echo '{word}' &" for word, ask in questions.items()]
    return asker.does("\n".join((*asked, "wait")))


def at_once(works: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    with ThreadPoolExecutor(len(works)) as pool:
        begun = {name: pool.submit(work) for name, work in works.items()}
        return {name: future.result() for name, future in begun.items()}
