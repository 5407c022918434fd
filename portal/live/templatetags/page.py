"""Tags and filters of every page: icons and sizes."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.forms import BoundField, ChoiceField
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

register = template.Library()
# The order counts: each of these claims to be the next ones as well.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of Bootstrap Icons as inline SVG; decoration only, hidden from screen readers."""
    return _svg(name)


@register.simple_tag
def field_state(field: BoundField) -> SafeString:
    """The attributes by which a screen reader learns that a field was refused, and why (field_errors.html has the words)."""
    if not field.errors:
        return SafeString("")
    return format_html(' aria-invalid="true" aria-describedby="{}-error"', field.auto_id)


@register.simple_tag
def control(field: BoundField) -> SafeString:
    """A form's field as its own widget, in the look of the site, with what field_state says."""
    attributes: dict[str, Any] = {
        "class": f"form-control{' is-invalid' if field.errors else ''}",
        "placeholder": "",
    }
    if isinstance(field.field, ChoiceField):
        attributes["class"] = attributes["class"].replace("form-control", "form-select")
    if field.errors:
        attributes |= {"aria-invalid": "true", "aria-describedby": f"{field.auto_id}-error"}
    return field.as_widget(attrs=attributes)


@register.filter
def browser(user_agent: str) -> str:
    """A browser's own words about itself as a person says them: 'Firefox on Linux'."""
    program = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if program and system:
        return gettext("%(program)s on %(system)s") % {"program": program, "system": system}
    return program or system or gettext("Another program")


@register.filter(name="json")
def json_text(value: object) -> str:
    """A value for a script, as the text of an element: the policy allows no script in the page."""
    return json.dumps(value, cls=DjangoJSONEncoder)


@register.filter
def gib(size_bytes: int) -> str:
    """Bytes as GB the way people say it: 1024 to the third, at most one decimal."""
    return f"{_short(size_bytes / 1024**3)} GB"


@register.filter
def mib(size_mib: int) -> str:
    """MiB as GB, or as MB where it is less than one GB."""
    return f"{_short(size_mib / 1024)} GB" if size_mib >= 1024 else f"{size_mib} MB"


@register.filter
def shell(argv: list[str]) -> str:
    """An argument list as it could be pasted into a shell, an option a line."""
    import shlex  # noqa: PLC0415  only for experts' pages

    lines: list[str] = []
    for argument in argv:
        if argument.startswith("-") or not lines:
            lines.append(shlex.quote(argument))
        else:
            lines[-1] += " " + shlex.quote(argument)
    return " \\\n  ".join(lines)


def _short(value: float) -> str:
    return number_format(round(value, 1) if value % 1 >= 0.05 else round(value), use_l10n=True)


@cache
def _svg(name: str) -> SafeString:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"no icon is called {name!r}")
    text = (Path(settings.ICONS_DIR) / f"{name}.svg").read_text()
    drawing = re.sub(r'class="[^"]*"', 'class="icon" aria-hidden="true" focusable="false"', text, count=1)
    return mark_safe(drawing)  # noqa: S308  a file of a pinned package, named by a template
