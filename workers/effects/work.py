"""What an effect is given: the machine, the message that asks for it, and the ways to tell and to end early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from workers.contract.acts import Act
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.jobs import Facts
from workers.contract.messages import ApplyMachine
from workers.contract.spec import MachineSpec
from workers.host import wishes
from workers.plan.names import MachineFolder
from workers.this_host import Host


class Superseded(OffshootError):
    """A newer wish came while this one was being carried out."""

    code = ErrorCode.SUPERSEDED


@dataclass
class Work:
    """One operation on one machine. `tell` takes the running step's per cent; `facts` is what came out of it."""

    host: Host
    message: ApplyMachine
    folder: MachineFolder
    tell: Callable[[int], None] = lambda _: None
    facts: Facts | None = None

    @property
    def spec(self) -> MachineSpec:
        """The machine as it is wanted."""
        return self.message.spec

    def as_it_was(self, spec: MachineSpec) -> Work:
        """The same operation for the machine of another time: its hardware then, still the wish of now."""
        then = spec.model_copy(update={"generation": self.spec.generation, "power": self.spec.power})
        return replace(self, message=self.message.model_copy(update={"spec": then}))

    @property
    def act(self) -> Act | None:
        """What is done once, after the spec."""
        return self.message.act

    @property
    def is_superseded(self) -> bool:
        """A newer wish was accepted: a long effect looks here every so often, cleans up and calls end_early."""
        newest = wishes.newest_generation(self.host.config.state, self.spec.machine_id)
        return newest > self.spec.generation

    def end_early(self) -> None:
        """Raise Superseded if a newer wish came; that is also how a person cancels."""
        if self.is_superseded:
            raise Superseded("a newer wish came")


Effect = Callable[[Work], None]
