"""The lock that tells whether a machine lives: looking at it takes nothing, and a child keeps it."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

from tests.lab.waiting import wait_for
from workers.host.locks import is_held, try_lock


def test_whoever_looks_turns_nobody_away(tmp_path: Path) -> None:
    path = tmp_path / "life.lock"
    path.touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_held(path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            taken = try_lock(path)
            assert taken is not None
            os.close(taken)
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_nobody_who_only_looks_seems_to_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "life.lock"
    path.touch()
    found: list[bool] = []
    lookers = [
        threading.Thread(target=lambda: found.extend(is_held(path) for _ in range(300))) for _ in range(3)
    ]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert found == [False] * 900


def test_a_child_that_inherited_it_holds_it_until_its_end(tmp_path: Path) -> None:
    path = tmp_path / "life.lock"
    assert not is_held(path)
    taken = try_lock(path)
    assert taken is not None
    with subprocess.Popen(("sleep", "60"), pass_fds=(taken,)) as child:
        os.close(taken)
        assert is_held(path)
        assert try_lock(path) is None
        child.kill()
    wait_for("it is free", lambda: not is_held(path), seconds=5)
