"""The list of features names the tests that hold each one: every one of those files is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
FEATURES = TESTS.parent / "docs" / "features.md"


def named_tests() -> set[str]:
    """`web/test_classes` in backticks, also with `.py` or more words behind it."""
    quoted = re.findall(r"`([^`\n]+)`", FEATURES.read_text())
    found = (re.match(r"(?:tests/)?(\w+/test_\w+)", each) for each in quoted)
    return {match[1] for match in found if match}


def test_every_test_that_the_features_name_is_there() -> None:
    named = named_tests()
    assert len(named) > 50
    assert [each for each in sorted(named) if not (TESTS / f"{each}.py").is_file()] == []
