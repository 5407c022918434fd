"""What a person says of an image: its name, system and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.images.models import Image, ImageKind

if TYPE_CHECKING:
    _Base = forms.ModelForm[Image]
else:
    _Base = forms.ModelForm


class ImageForm(_Base):
    """The fields that are a person's to choose; what was found in the file is not."""

    class Meta:
        model = Image
        fields = ["name", "system", "version", "is_cloud"]
        labels = {
            "name": gettext_lazy("Name"),
            "system": gettext_lazy("Operating system"),
            "version": gettext_lazy("Version"),
            "is_cloud": gettext_lazy("It is a cloud image: it asks for a user and keys at its first start"),
        }
        error_messages = {
            "name": {
                "required": gettext_lazy("The image needs a name."),
                "unique": gettext_lazy("There is an image of this name already. Choose another name."),
            }
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.kind == ImageKind.DISC:  # a disc is put in, nothing starts from it as a disk
            del self.fields["is_cloud"]

    def clean_name(self) -> str:
        """Visible characters."""
        name = " ".join(self.cleaned_data["name"].split())
        if not name.isprintable():
            raise forms.ValidationError(_("A name has visible characters only."))
        return name
