"""What is known of the rules that the kernel holds: a journal beside the networks, so that a restarted worker knows it too.

Before rules are changed the journal says that nobody knows; after that, what was changed. A worker that is killed in between
finds the first and begins anew. It counts for one boot and one network namespace: elsewhere the kernel holds nothing.
It needs to survive the worker, not the host, so nothing is forced to the disk.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from workers.host.generation import namespace
from workers.plan.rulesets.parts import SKELETON, Part, Parts, Place

_LONGEST = 4 * 1024 * 1024
_UNKNOWN = json.dumps({"unknown": True}) + "\n"

_Signature = tuple[int, int, int]


class RulesInForce:
    """The journal of one host. Used under the networks' lock only."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "rules-in-force.jsonl"
        self._read: tuple[_Signature, dict[str, Part]] | None = None

    def known(self) -> dict[str, Part] | None:
        """The parts in force, none of them where our tables are not there; None where nobody knows."""
        signature = self._signature()
        if signature is None:
            return None
        if self._read is None or self._read[0] != signature:
            parts = _parts(self._file)
            if parts is None:
                return None
            self._read = (signature, parts)
        return self._read[1]

    def begin(self) -> None:
        """The rules are about to be changed: until `changed` or `replaced` nobody knows them."""
        with self._file.open("a") as file:
            file.write(_UNKNOWN)

    def changed(self, before: Parts, after: dict[str, Part]) -> None:
        """The parts `after` are in force in the place of `before`, which were known."""
        lines = {name: _as_json(part) for name, part in after.items() if before.get(name) != part}
        gone = {name: None for name in before if name not in after}
        with self._file.open("a") as file:
            file.write(json.dumps({"parts": lines | gone}) + "\n")
        if self._file.stat().st_size > _LONGEST + 2 * sum(map(len, lines)):
            self.replaced(after)
        else:
            self._remember(after)

    def replaced(self, after: dict[str, Part]) -> None:
        """The parts `after`, and nothing else of ours, are in force."""
        draft = self._file.with_suffix(".draft")
        head = {"skeleton": _version(), "namespace": namespace()}
        parts = {name: _as_json(part) for name, part in after.items()}
        draft.write_text(f"{json.dumps(head)}\n{json.dumps({'parts': parts})}\n")
        draft.replace(self._file)
        self._remember(after)

    def _remember(self, parts: dict[str, Part]) -> None:
        signature = self._signature()
        self._read = (signature, parts) if signature is not None else None

    def _signature(self) -> _Signature | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _parts(file: Path) -> dict[str, Part] | None:
    """The journal, read from its beginning; None where it ends unknown, is another version's, another boot's, or damaged."""
    parts: dict[str, Part] = {}
    is_known = False
    try:
        head, *lines = [json.loads(line) for line in file.read_text().splitlines()]
        if head != {"skeleton": _version(), "namespace": namespace()}:
            return None
        for line in lines:
            is_known = "parts" in line
            for name, raw in line.get("parts", {}).items():
                if raw is None:
                    parts.pop(name, None)
                else:
                    parts[name] = _from_json(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return parts if is_known else None


def _version() -> str:
    return hashlib.sha256(SKELETON.encode()).hexdigest()


def _as_json(part: Part) -> dict[str, Any]:
    return {
        "chains": {" ".join(place): rules for place, rules in part.chains.items()},
        "sets": {" ".join(place): body for place, body in part.sets.items()},
        "elements": {" ".join(place): dict(pairs) for place, pairs in part.elements.items()},
    }


def _from_json(raw: dict[str, Any]) -> Part:
    return Part(
        chains={_place(word): tuple(rules) for word, rules in raw["chains"].items()},
        sets={_place(word): str(body) for word, body in raw["sets"].items()},
        elements={_place(word): dict(pairs) for word, pairs in raw["elements"].items()},
    )


def _place(word: str) -> Place:
    family, _, name = word.partition(" ")
    return family, name
