"""Bringing an installation up: what it needs, its processes, its demonstration disc."""
