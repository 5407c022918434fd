"""What a host can do, in sentences."""

from __future__ import annotations

from django.utils.translation import gettext as _

from workers.contract.host import HostFacts, KvmAnswer


def kvm_sentence(facts: HostFacts | None) -> str:
    """How fast machines run on this host, and why."""
    if facts is None:
        return _("This host has not said yet what it can do.")
    if facts.kvm is None:
        return _("This host is trying out its hardware acceleration. That takes a few seconds.")
    match facts.kvm.answer:
        case KvmAnswer.WORKS:
            return _("Machines here run at full speed: hardware acceleration was tried out and works.")
        case KvmAnswer.NO_MODULE:
            return _(
                "Machines here run emulated and slow, because the kernel's module for hardware acceleration "
                "is not loaded. Switch virtualization on in the firmware and load kvm_intel or kvm_amd."
            )
        case KvmAnswer.NO_PERMISSION:
            return _(
                "Machines here run emulated and slow, because the host's worker may not open /dev/kvm. "
                "It has to run as root, outside of a container without devices."
            )
        case KvmAnswer.QEMU_FAILED:
            return _(
                "Machines here run emulated and slow, because a small machine that was tried with hardware "
                "acceleration failed. The details say how."
            )
        case KvmAnswer.TOO_SLOW:
            return _(
                "Machines here run emulated and slow, because hardware acceleration is there but slower than "
                "emulation: a host that is a virtual machine itself often has no real one to pass on."
            )


def emulated_notice(facts: HostFacts | None) -> str:
    """A short word of warning for a machine's page; empty where machines run at full speed."""
    if facts is None or facts.kvm is None or facts.kvm.answer is KvmAnswer.WORKS:
        return ""
    return kvm_sentence(facts)


def trial_label(answer: KvmAnswer) -> str:
    """The probe's answer in two or three words."""
    return {
        KvmAnswer.WORKS: _("works"),
        KvmAnswer.NO_MODULE: _("no kernel module"),
        KvmAnswer.NO_PERMISSION: _("no right to open it"),
        KvmAnswer.QEMU_FAILED: _("QEMU failed"),
        KvmAnswer.TOO_SLOW: _("too slow"),
    }[answer]
