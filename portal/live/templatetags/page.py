"""Tags and filters of every page: icons and sizes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.forms import BoundField
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


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
