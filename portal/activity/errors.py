"""Every error that can reach a person, in plain words: what happened, and what to do. The only place for them."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from workers.contract.errors import ErrorCode


@dataclass(frozen=True)
class ErrorWords:
    """`sentence` says what happened and that nothing was lost, `advice` what to do now."""

    sentence: str | Promise
    advice: str | Promise


_AGAIN = _("Nothing was lost. Try again; if it happens again, show the details below to an administrator.")
_ADMINISTRATOR = _("Nothing was lost. An administrator has to look at the host; the details below say why.")

WORDS: dict[ErrorCode, ErrorWords] = {
    ErrorCode.AGENT_ABSENT: ErrorWords(
        _("The machine has no guest agent that answers, and this needs one."),
        _(
            "Nothing was changed. Install qemu-guest-agent in the machine (Windows: from the virtio driver disc), then try again."
        ),
    ),
    ErrorCode.AGENT_FAILED: ErrorWords(
        _("The machine's guest agent refused what it was asked."),
        _("Nothing was lost. The details below have its own words."),
    ),
    ErrorCode.BACKUP_FAILED: ErrorWords(
        _("The backup could not be written."),
        _(
            "Nothing was lost: the machine and its earlier backups are as they were. The details below say why."
        ),
    ),
    ErrorCode.BACKUP_DAMAGED: ErrorWords(
        _("The backup is not what was written down when it was taken."),
        _(
            "The machine itself is untouched. Take a new backup, and have an administrator look at the backup folder."
        ),
    ),
    ErrorCode.BASE_MISSING: ErrorWords(
        _("The template or image that the disk stands on is not on the host."),
        _ADMINISTRATOR,
    ),
    ErrorCode.BASE_IN_USE: ErrorWords(
        _("Other disks still stand on this one."),
        _("Nothing was removed. Delete the machines that were made from it first."),
    ),
    ErrorCode.BRIDGE_MISSING: ErrorWords(
        _("The bridge that the network uses on this host is not there."),
        _(
            "Nothing was lost. An administrator has to set the host's bridge up again, "
            "or choose another one on the network's page."
        ),
    ),
    ErrorCode.BRIDGE_REFUSED: ErrorWords(
        _("The host cannot make or remove that bridge."),
        _(
            "Nothing was changed. The reason is in the details below; choose another card or bridge of the host."
        ),
    ),
    ErrorCode.BRIDGE_TAKEN_BACK: ErrorWords(
        _("With the bridge the host no longer reached this site, so it went back to how it was."),
        _(
            "Nothing was lost: the host's addresses and routes are as before. "
            "Look whether it is the right card, and whether the switch lets more than one address through; details below."
        ),
    ),
    ErrorCode.PORT_TAKEN: ErrorWords(
        _("A port of the host that was to be published is in use by a program of the host itself."),
        _(
            "Nothing was lost: that program is reached as before. "
            "Publish the machine's port at another one on its page “Network”; the details below name the one in use."
        ),
    ),
    ErrorCode.LIMIT_FAILED: ErrorWords(
        _("The host could not set a limit of the machine."),
        _ADMINISTRATOR,
    ),
    ErrorCode.DISK_LOST: ErrorWords(
        _("A disk of the machine is not where it was."),
        _(
            "Nothing was changed, and no empty disk was put in its place. "
            "An administrator has to look whether the host's folder is mounted."
        ),
    ),
    ErrorCode.DISK_SHRINKS: ErrorWords(
        _("The disk is larger than what was asked for, and a disk never shrinks."),
        _("Nothing was changed."),
    ),
    ErrorCode.EXPORT_FAILED: ErrorWords(
        _("The machine could not be exported."),
        _AGAIN,
    ),
    ErrorCode.HARDWARE_REFUSED: ErrorWords(
        _("The running machine did not take or give up a device."),
        _("Nothing was lost. Its system may not be ready for it: shut the machine down and try again."),
    ),
    ErrorCode.IMAGE_REFUSED: ErrorWords(
        _("The disk image was refused: it is not safe, or not what it says it is."),
        _("Nothing of it was used. The details below say what was found in it."),
    ),
    ErrorCode.NOT_OFF: ErrorWords(
        _("The machine has to be off for this."),
        _("Nothing was changed. Shut it down, then try again."),
    ),
    ErrorCode.NOT_RUNNING: ErrorWords(
        _("The machine has to be running for this."),
        _("Nothing was changed. Start it, then try again."),
    ),
    ErrorCode.ORIGIN_FAILED: ErrorWords(
        _("What this was to be made from could not be prepared."),
        _("Nothing was made. See what is said there, then try again."),
    ),
    ErrorCode.PLACE_FULL: ErrorWords(
        _("There is not enough room in the backup folder."),
        _(
            "Nothing was lost: the machine and its earlier backups are as they were. "
            "Delete backups that are no longer needed, or have an administrator make room."
        ),
    ),
    ErrorCode.PLACE_MISSING: ErrorWords(
        _("The folder for it is not there on the host."),
        _(
            "Nothing was changed. An administrator has to look whether it is mounted and named in the host's settings."
        ),
    ),
    ErrorCode.SAVE_FAILED: ErrorWords(
        _("The machine's memory could not be saved; it goes on running."),
        _("Nothing was lost. The host may be short of disk space."),
    ),
    ErrorCode.SNAPSHOT_FAILED: ErrorWords(
        _("The snapshot could not be made or used."),
        _(
            "Nothing on its disks was lost: they are as they were. If the machine is off now, start it again; the details say why."
        ),
    ),
    ErrorCode.SNAPSHOT_MISSING: ErrorWords(
        _("The snapshot is no longer on the host."),
        _("Nothing was changed. Delete it from the list."),
    ),
    ErrorCode.TPM_FAILED: ErrorWords(
        _("The machine's security chip (TPM) could not be started."),
        _(
            "Nothing was lost. An administrator has to look at the host: the package swtpm brings the program. "
            "The details below say why."
        ),
    ),
    ErrorCode.WAKE_FAILED: ErrorWords(
        _("The machine could not go on from where it was saved."),
        _(
            "Nothing was lost: its saved memory is kept, and its disks are as they were. Try again; or start it anew, "
            "and what was only in its memory is lost."
        ),
    ),
    ErrorCode.BAD_MESSAGE: ErrorWords(
        _("The host did not understand what it was asked, and did nothing."), _ADMINISTRATOR
    ),
    ErrorCode.BRIDGE_FAILED: ErrorWords(
        _("The host could not prepare the machine's network."), _ADMINISTRATOR
    ),
    ErrorCode.COMMAND_FAILED: ErrorWords(_("A program on the host failed."), _AGAIN),
    ErrorCode.COMMAND_TIMED_OUT: ErrorWords(
        _("A program on the host took too long and was stopped."),
        _("Nothing was lost. The host may be busy: try again in a few minutes."),
    ),
    ErrorCode.DHCP_FAILED: ErrorWords(
        _("The host could not start the service that gives machines their addresses."), _ADMINISTRATOR
    ),
    ErrorCode.DISC_DAMAGED: ErrorWords(
        _("The disc did not arrive at the host as it is in the library."),
        _("Nothing was lost. Try again; if it happens again, add the disc to the library anew."),
    ),
    ErrorCode.DISC_UNREACHABLE: ErrorWords(
        _("The host could not fetch the disc from the library."),
        _("Nothing was lost. Try again in a minute; the transfer goes on where it stopped."),
    ),
    ErrorCode.DISK_FULL: ErrorWords(
        _("The host has not enough disk space left."),
        _("Nothing was lost. Choose a smaller or a growing disk, or ask an administrator to make room."),
    ),
    ErrorCode.DISK_FAILED: ErrorWords(_("The machine's disk could not be made."), _AGAIN),
    ErrorCode.FIREWALL_FAILED: ErrorWords(
        _("The host could not set its firewall rules; those before are still in force."), _ADMINISTRATOR
    ),
    ErrorCode.FIRMWARE_MISSING: ErrorWords(
        _("The machine's firmware (UEFI) is not installed on its host."),
        _(
            "Nothing was lost. An administrator has to install it there: the package ovmf. "
            "A machine with a BIOS starts without it."
        ),
    ),
    ErrorCode.GUEST_IGNORED_SHUTDOWN: ErrorWords(
        _("The machine was asked to shut down and is still running after a minute."),
        _(
            "Its system may be busy, or may not listen to the power button (installers do not). "
            "Shut it down in its console, or force it off: what it has not saved is then lost."
        ),
    ),
    ErrorCode.INTERNAL: ErrorWords(_("Something went wrong on the host that should not have."), _AGAIN),
    ErrorCode.LAUNCH_FAILED: ErrorWords(_("The machine could not be started."), _AGAIN),
    ErrorCode.MEMORY_SHORT: ErrorWords(
        _("The host has not enough free memory for this machine now."),
        _("Nothing was lost. Shut down another machine on this host, or try again later."),
    ),
    ErrorCode.MONITOR_FAILED: ErrorWords(_("The running machine did not answer the host."), _AGAIN),
    ErrorCode.SUBNET_TAKEN: ErrorWords(
        _("The network's addresses are in use on the host already."),
        _("Nothing was lost. An administrator has to choose another range: OFFSHOOT_PRIVATE_SUBNET."),
    ),
    ErrorCode.SUPERSEDED: ErrorWords(
        _("A newer request took the place of this one."), _("There is nothing to do.")
    ),
    ErrorCode.TAP_FAILED: ErrorWords(
        _("The host could not connect the machine to its network."), _ADMINISTRATOR
    ),
    ErrorCode.VERSION_UNKNOWN: ErrorWords(
        _("The host's software is of another version than this site's and refused the request."),
        _("Nothing was lost. An administrator has to bring both to the same version."),
    ),
}


def words_for(code: str) -> ErrorWords:
    """The words for a code; those of an internal error for one that this version does not know."""
    try:
        return WORDS[ErrorCode(code)]
    except ValueError:
        return WORDS[ErrorCode.INTERNAL]
