"""`manage.py add_image PATH`: a disc from a folder of this machine into the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from portal.images.models import Image, ImageState
from portal.images.services import image_add_file
from portal.refusal import Refused


class Command(BaseCommand):
    """Copies and checks a disc or the image of a disk; the file itself stays where it is."""

    help = "Copies an ISO file or a disk image (qcow2, raw, VMDK, VDI, VHDX, OVA) into the library, where everybody can use it."

    def add_arguments(self, parser: CommandParser) -> None:
        """PATH [--name NAME] [--if-absent]."""
        parser.add_argument("path", type=Path)
        parser.add_argument("--name", help="what the disc is called; by default its file's name")
        parser.add_argument(
            "--if-absent", action="store_true", help="do nothing where a disc of that name is in the library"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Add it and say so. Ends with status 1 and one line where it is refused."""
        path: Path = options["path"]
        name = options["name"] or path.stem
        if options["if_absent"] and Image.objects.filter(name=name).exists():
            self.stdout.write(_("‘%(name)s’ is in the library already.") % {"name": name})
            return
        try:
            image = image_add_file(path=path, name=options["name"])
        except Refused as refusal:
            raise CommandError(f"{path}: {refusal.message}") from refusal
        except OSError as exc:
            raise CommandError(f"{path}: {exc.strerror}") from exc
        words = _("Added ‘%(name)s’ (%(size)s, label %(label)s) to the library.")
        facts = {
            "name": image.name,
            "size": filesizeformat(image.size_bytes),
            "label": image.volume_label or "–",
        }
        self.stdout.write(words % facts)
        if image.state == ImageState.CHECKING:
            self.stdout.write(
                _("A host looks at it before it can be used; the page Discs says how that ends.")
            )
