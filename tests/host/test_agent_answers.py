"""The agent's client against whatever a guest may answer: late, endless, nonsense, too deep, somebody else's."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.lab.folder import short_folder
from tests.lab.waiting import wait_for
from workers.config import host_config
from workers.contract.messages import AgentFacts, AgentState, MachineObserved
from workers.guests import Guests
from workers.host import agent as agent_module
from workers.host.agent import AgentAbsent, AgentFailed, Busy, agent_of
from workers.host.monitor import MonitorLoop
from workers.plan.names import MachineFolder
from workers.this_host import Host

Answer = Callable[[dict[str, Any]], bytes]


class Guest:
    """Stands where qemu stands: takes one connection after another and answers each line as it is told to."""

    def __init__(self, folder: MachineFolder, answer: Answer) -> None:
        folder.run.mkdir(parents=True)
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder.agent_socket))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    asked = json.loads(line.lstrip(b"\xff"))
                    self.asked.append(asked)
                    try:
                        connection.sendall(self._reply(asked))
                    except OSError:
                        break

    def _reply(self, asked: dict[str, Any]) -> bytes:
        if asked["execute"] == "guest-sync-delimited":
            rest = b'{"return": "of an earlier answer"}\n'
            return rest + b'\xff{"return": %d}\n' % asked["arguments"]["id"]
        return self._answer(asked)


@contextmanager
def guest(answer: Answer) -> Iterator[tuple[MachineFolder, Guest]]:
    with short_folder() as root:
        folder = MachineFolder(Path(root) / "machine")
        with closing(Guest(folder, answer)) as there:
            yield folder, there


def says(**returned: Any) -> Answer:
    """Answers by the command's name."""
    by_name = {name.replace("_", "-"): value for name, value in returned.items()}
    return lambda asked: json.dumps({"return": by_name[asked["execute"]]}).encode() + b"\n"


def test_what_it_says_of_itself() -> None:
    cards = [
        {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}, {"ip-address": "::1"}]},
        {"name": "eth0", "ip-addresses": [{"ip-address": "fe80::1%eth0"}, {"ip-address": "2001:db8::5"}]},
        {"name": "eth1", "ip-addresses": [{"ip-address": "192.168.57.10"}, {"ip-address": "nonsense"}]},
        {"name": "eth2"},
    ]
    answers = says(
        guest_get_osinfo={"pretty-name": "Debian GNU/Linux 12 (bookworm)", "id": "debian"},
        guest_get_host_name={"host-name": "web"},
        guest_network_get_interfaces=cards,
    )
    with guest(answers) as (folder, _), agent_of(folder) as agent:
        assert agent.system() == "Debian GNU/Linux 12 (bookworm)"
        assert agent.host_name() == "web"
        assert agent.addresses() == ("192.168.57.10", "2001:db8::5")


def test_text_is_cleaned_and_cut() -> None:
    with (
        guest(says(guest_get_osinfo={"pretty-name": "\x1b[31m\x00Evil\nOS\u202e" + "x" * 100_000})) as (
            folder,
            _,
        ),
        agent_of(folder) as agent,
    ):
        system = agent.system()
    assert system.startswith("[31m Evil OS xxx")
    assert len(system) == 200


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"not json\n", "makes no sense"),
        (b'{"return": {"pretty-name": ["a", "list"]}}\n', "makes no sense"),
        (b"[" * 100_000 + b"\n", "makes no sense"),
        (b'{"return": ' + b"9" * 100_000 + b"}\n", "makes no sense"),
        (b'{"error": {"class": "GenericError", "desc": "no\\u0000 thanks"}}\n', "no thanks"),
        (b"x" * 2_000_000, "too long"),
    ],
)
def test_an_answer_that_is_none_is_an_error_in_words(reply: bytes, words: str) -> None:
    with (
        guest(lambda _: reply) as (folder, _),
        agent_of(folder) as agent,
        pytest.raises(AgentFailed, match=words),
    ):
        agent.system()


def test_one_that_says_nothing_is_absent_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "ANSWER_SECONDS", 0.3)
    begun = time.monotonic()
    with (
        guest(lambda _: b"") as (folder, _),
        agent_of(folder) as agent,
        pytest.raises(AgentAbsent, match="in time"),
    ):
        agent.ask("guest-info", agent_module._ANYTHING, seconds=0.3)
    assert time.monotonic() - begun < 5
    with short_folder() as root, pytest.raises(AgentAbsent), agent_of(MachineFolder(Path(root))):
        pass


def test_one_at_a_time_speaks_with_it() -> None:
    with guest(says()) as (folder, _), agent_of(folder):
        with pytest.raises(Busy), agent_of(folder, turn_seconds=0):
            pass
        other = MachineFolder(folder.root.parent / "other")
        with closing(Guest(other, says())), agent_of(other, turn_seconds=0):
            pass


def test_a_password_travels_as_its_hash() -> None:
    with guest(says(guest_set_user_password={})) as (folder, there):
        with agent_of(folder) as agent:
            agent.set_password("root", "$6$salt$hash")
        assert there.asked[-1]["arguments"] == {
            "username": "root",
            "password": "JDYkc2FsdCRoYXNo",
            "crypted": True,
        }


def test_a_hundred_guests_are_asked_and_those_that_hang_hold_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "ANSWER_SECONDS", 0.5)
    answers = says(
        guest_fsfreeze_status="thawed",
        guest_get_osinfo={"pretty-name": "Debian"},
        guest_get_host_name={"host-name": "box"},
        guest_network_get_interfaces=[{"ip-addresses": [{"ip-address": "10.0.0.1"}]}],
    )
    told: list[MachineObserved] = []
    with short_folder() as root, ExitStack() as stack:
        (root / "fleet.key").write_text("a key for tests only")
        monitors = MonitorLoop()
        host = Host(
            config=host_config({"OFFSHOOT_HOST_STATE": str(root), "OFFSHOOT_HOST_NAME": "rack-1"}),
            monitors=monitors,
            kvm=lambda: pytest.fail("asked for KVM"),
            report_progress=lambda _: None,
            report_observed=told.append,
            direct_io=False,
        )
        guests = Guests(host)
        good, hanging = [uuid4() for _ in range(50)], [uuid4() for _ in range(50)]
        for machine_id in hanging:
            folder = host.folder(machine_id)
            folder.run.mkdir(parents=True)
            silent = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            silent.bind(str(folder.agent_socket))
            silent.listen()  # takes a connection and says nothing, as qemu does where the guest does not read
        for machine_id in good:
            stack.enter_context(closing(Guest(host.folder(machine_id), answers)))
        try:
            for machine_id in (*hanging, *good):  # those that hang first
                monitors.loop.call_soon_threadsafe(partial(guests.port_changed, machine_id, is_open=True))

            def all_known() -> bool:
                begun = time.monotonic()
                monitors.call(asyncio.sleep(0))
                assert time.monotonic() - begun < 1, "the loop of the events is held up"
                states = [
                    facts.state if (facts := guests.facts(each)) else None for each in (*good, *hanging)
                ]
                return states == [AgentState.ANSWERS] * 50 + [AgentState.SILENT] * 50

            wait_for("each guest's state", all_known, seconds=30)
            assert guests.facts(good[0]) == AgentFacts(
                state=AgentState.ANSWERS, system="Debian", host_name="box", addresses=("10.0.0.1",)
            )
            monitors.loop.call_soon_threadsafe(partial(guests.port_changed, good[0], is_open=False))
            wait_for("it is gone", lambda: guests.facts(good[0]) == AgentFacts(state=AgentState.ABSENT))
            for machine_id in (*hanging, *good):
                monitors.loop.call_soon_threadsafe(guests.forget, machine_id)
            wait_for("it is forgotten", lambda: guests.facts(good[-1]) is None)
            wait_for("each was told of", lambda: {each.machine_id for each in told} >= {*good, *hanging})
        finally:
            guests.close()
            monitors.close()
            monitors.loop.close()
