"""What a host notes of the hardware that a living machine has, change by change."""

from __future__ import annotations

from pathlib import Path

from tests.lab import wishes
from workers.host.files import write_json
from workers.host.living import living, memory_now_mib, note_living, note_memory
from workers.plan.names import MachineFolder


def test_each_change_is_known_at_once_and_to_the_next_worker(tmp_path: Path) -> None:
    folder = MachineFolder(tmp_path)
    assert living(folder) is None
    machine = wishes.spec()
    write_json(folder.launched_file, {"run": 1, "argv": ["qemu"], "spec": machine.to_wire(), "ports": True})
    for mib in (100, 200, 300):
        note_living(folder, memory_mib=mib)
        now = living(folder)
        assert now is not None
        assert now.spec == machine.model_copy(update={"memory_mib": mib})
    # A start writes the file anew.
    write_json(folder.launched_file, {"run": 2, "spec": wishes.later(machine).to_wire()})
    now = living(folder)
    assert now is not None
    assert (now.spec.generation, now.ports) == (2, False)


def test_a_record_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    folder = MachineFolder(tmp_path)
    write_json(folder.launched_file, {"run": 1, "spec": {"version": 99, "body": {}}})
    assert living(folder) is None


def test_what_the_balloon_left_counts_for_its_run_only(tmp_path: Path) -> None:
    folder = MachineFolder(tmp_path)
    write_json(folder.launched_file, {"run": 1})
    assert memory_now_mib(folder) is None
    assert note_memory(folder, 512 * 1024 * 1024)
    assert not note_memory(folder, 512 * 1024 * 1024)
    assert memory_now_mib(folder) == 512
    write_json(folder.launched_file, {"run": 2})
    assert memory_now_mib(folder) is None
