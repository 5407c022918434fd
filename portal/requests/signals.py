"""Where others hear of requests: notices, mail, web hooks."""

from __future__ import annotations

from django.dispatch import Signal

request_changed = Signal()
"""Sent after the commit with `request` (the row) and `event` (what has just happened to it), `sender` the Request model.

A receiver that fails is written to the log and hinders nobody.
"""
