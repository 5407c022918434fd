"""A machine's TPM: a process of its own beside qemu (swtpm), joined to it by a socket that has no name.

It holds a lock from its start to its end, as qemu does. qemu's end ends it; one that qemu never came to is ended
before the next start, when the machine is looked at anew, or with the machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
from uuid import UUID

from workers.contract.errors import ErrorCode, OffshootError
from workers.host import cgroups
from workers.host.commands import CommandError, spawn
from workers.host.files import tail
from workers.host.locks import is_held, try_lock, wait_free
from workers.host.signals import kill_by_arguments
from workers.killpoints import reached
from workers.plan.firmware import tpm_argv, tpm_state_argument
from workers.plan.names import MachineFolder

_ANSWER_SECONDS = 10.0
_ASK_WHAT_IT_CAN = (1).to_bytes(4, "big")
"""CMD_GET_CAPABILITY of swtpm's control channel (swtpm_ioctls(3)); 8 bytes come back."""

_children: dict[UUID, subprocess.Popen[bytes]] = {}
"""Those that this very process started, to be reaped by it; others are init's."""


class TpmError(OffshootError):
    """The TPM could not be started; none is left running."""

    code = ErrorCode.TPM_FAILED


def start(folder: MachineFolder, machine_id: UUID, *, uid: int, gid: int) -> int:
    """Start the machine's TPM; what is returned is qemu's end of its line, an open descriptor. Raises TpmError.

    Call it under the apply lock, when no qemu of the machine runs.
    """
    end(folder, machine_id)
    try:
        folder.tpm.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder.tpm, uid, gid)
        folder.tpm_log.write_bytes(b"")
    except OSError as exc:
        raise TpmError(str(exc)) from exc
    lock = try_lock(folder.tpm_lock)
    if lock is None:
        raise TpmError("another one of this machine is running already")
    ours, its = socket.socketpair()
    try:
        process = spawn(
            tpm_argv(folder.tpm, its.fileno()),
            stdout=folder.tpm_log,
            stderr=folder.tpm_log,
            pass_fds=(lock, its.fileno()),
            user=uid,
            group=gid,
        )
    except CommandError as exc:
        ours.close()
        raise TpmError(exc.detail) from exc
    finally:
        os.close(lock)
        its.close()
    _children[machine_id] = process
    cgroups.adopt(machine_id, process.pid)
    reached("tpm spawned")
    try:
        _await_answer(ours)
    except OSError as exc:
        ours.close()
        end(folder, machine_id)
        raise TpmError(f"it did not answer: {exc}\n{words(folder)}".strip()) from exc
    return ours.detach()


def end(folder: MachineFolder, machine_id: UUID) -> None:
    """No TPM of this machine runs any more. Only for a machine whose qemu does not run. Raises OffshootError."""
    if is_held(folder.tpm_lock) and not wait_free(folder.tpm_lock, seconds=1):
        kill_by_arguments("--tpmstate", tpm_state_argument(folder.tpm))
        if not wait_free(folder.tpm_lock, seconds=10):
            raise TpmError("it does not end, not even by SIGKILL")
    child = _children.pop(machine_id, None)
    if child is not None:
        child.wait(5)


def words(folder: MachineFolder) -> str:
    """The last words of the TPM's program."""
    return tail(folder.tpm_log, most_bytes=2000).strip()


def _await_answer(line: socket.socket) -> None:
    """It is up and listens. Raises OSError: it ended, or said nothing in time."""
    line.settimeout(_ANSWER_SECONDS)
    line.sendall(_ASK_WHAT_IT_CAN)
    if len(line.recv(8)) != 8:
        raise OSError("its line was closed")
    line.setblocking(True)
