"""What a person types for the system inside a machine: a cloud image's first settings, an account's password."""

from __future__ import annotations

from dataclasses import replace

from django import forms
from django.utils.translation import gettext_lazy

from portal.machines.seeds import AGENT_PACKAGE, seed_from
from portal.machines.services import MachineWish
from portal.refusal import Refused


class SeedForm(forms.Form):
    """The section of the New-machine form for a cloud image. The services hold its rules."""

    prefix = "seed"

    user = forms.CharField(max_length=200, required=False, label=gettext_lazy("Account"))
    ssh_keys = forms.CharField(
        max_length=100_000, required=False, widget=forms.Textarea, label=gettext_lazy("SSH public keys")
    )
    password = forms.CharField(
        max_length=1000,
        required=False,
        strip=False,
        widget=forms.PasswordInput,
        label=gettext_lazy("Password"),
    )
    packages = forms.CharField(
        max_length=10_000, required=False, initial=AGENT_PACKAGE, label=gettext_lazy("Packages")
    )

    def completed(self, wish: MachineWish) -> MachineWish | None:
        """The wish with the settings, where it is for a cloud image; None where a field was refused, which says so then."""
        if wish.image_disk is None or not wish.image_disk.is_cloud:
            return wish
        if not self.is_valid():
            return None
        data = self.cleaned_data
        try:
            seed = seed_from(
                machine_name=wish.name,
                user=data["user"],
                ssh_keys=data["ssh_keys"],
                password=data["password"],
                packages=data["packages"],
            )
        except Refused as refusal:
            self.add_error(refusal.field, refusal.message)
            return None
        return replace(wish, seed=seed)

    def say_again(self) -> None:
        """The form comes back, but never the password that was typed: say so, or a machine would be made without it."""
        if self.is_bound and self["password"].value() and not self.has_error("password"):
            words = gettext_lazy("Type the password once more: it is kept nowhere, not even in this form.")
            self.add_error("password", words)

    @property
    def keys_to_show(self) -> str:
        """What stands in the field for keys: what was typed, but never a private key again."""
        typed = str(self["ssh_keys"].value() or "")
        return "" if "PRIVATE" in typed or "PuTTY-User-Key-File" in typed else typed


class PasswordForm(forms.Form):
    """Which account, which password."""

    account = forms.CharField(
        max_length=32,
        label=gettext_lazy("Account in the machine"),
        error_messages={
            "required": gettext_lazy("Say whose password: for example root."),
            "max_length": gettext_lazy("An account's name has at most 32 characters."),
        },
    )
    password = forms.CharField(
        max_length=1000,
        strip=False,
        label=gettext_lazy("New password"),
        error_messages={"required": gettext_lazy("Say what it shall be.")},
    )
    again = forms.CharField(
        max_length=1000,
        strip=False,
        label=gettext_lazy("Once more"),
        error_messages={"required": gettext_lazy("Type it once more.")},
    )

    def clean_again(self) -> str:
        """Typed twice the same."""
        again = str(self.cleaned_data["again"])
        if "password" in self.cleaned_data and again != self.cleaned_data["password"]:
            raise forms.ValidationError(gettext_lazy("The two are not the same."))
        return again
