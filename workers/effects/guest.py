"""What is done for the system inside a machine: its first settings, an account's password."""

from __future__ import annotations

from workers.contract.acts import SetPassword
from workers.contract.errors import ErrorCode, OffshootError
from workers.effects.work import Work
from workers.host import agent, processes, seed
from workers.plan.seed import meta_data, user_data


class NotRunning(OffshootError):
    """It has to run for this."""

    code = ErrorCode.NOT_RUNNING


def make_seed(work: Work) -> None:
    """A cloud image finds its seed; one that is there stays as it is."""
    wanted = work.spec.seed
    if wanted is None or work.folder.seed_file.exists():
        return
    seed.make_seed(
        work.folder.seed_file,
        user_data=user_data(wanted),
        meta_data=meta_data(wanted, work.spec.machine_id),
        uid=work.host.config.uid,
        gid=work.host.config.gid,
    )


def set_password(work: Work) -> None:
    """Have the guest's agent set an account's password. Setting it twice sets the same one."""
    act = work.act
    if not isinstance(act, SetPassword):
        raise TypeError("no password to set")
    if not processes.runs(work.folder):
        raise NotRunning("it is off")
    if not agent.port_is_open(work.host.monitors, work.folder):
        raise agent.AgentAbsent("no program in the machine listens at the agent's port")
    with agent.agent_of(work.folder) as guest:
        guest.set_password(act.account, act.password_hash)


def its_agent_shuts_it_down(work: Work) -> bool:
    """Ask an agent where one listens: it shuts the guest down where nobody listens to the power button. True: it agreed."""
    try:
        if not agent.port_is_open(work.host.monitors, work.folder):
            return False
        with agent.agent_of(work.folder, turn_seconds=10) as guest:
            guest.shut_down()
    except OffshootError:
        return False
    return True
