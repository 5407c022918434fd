"""Wanted against found gives steps."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from tests.lab import wishes
from workers.contract.acts import Reset, Resume
from workers.contract.messages import Step
from workers.contract.spec import DiscSpec, Power, StopMode
from workers.plan.steps import Found, steps_for

DISC = DiscSpec(image_id=UUID("1a9e0000-0000-4000-8000-000000000001"), size_bytes=1000, sha256="0" * 64)
NOTHING = Found(disks_missing=True, running_run=None, running_disc=None, ended_run=None)
OFF = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=1)
RUNNING = Found(disks_missing=False, running_run=1, running_disc=str(DISC.image_id), ended_run=None)
START = (Step.PREPARE_NETWORK, Step.LAUNCH)


def test_a_new_machine_takes_every_step() -> None:
    steps = steps_for(wishes.spec(disc=DISC), NOTHING)
    assert steps == (Step.FETCH_DISC, Step.MAKE_DISKS, *START)


def test_an_image_that_a_new_disk_begins_as_is_fetched_before_the_disk_is_made() -> None:
    found = Found(True, None, None, None, images_missing=True)
    assert steps_for(wishes.spec(), found) == (Step.FETCH_IMAGE, Step.MAKE_DISKS, *START)


@pytest.mark.parametrize(
    ("found", "changes", "expected"),
    [
        (RUNNING, {"disc": DISC}, ()),
        (RUNNING, {"disc": None}, (Step.CHANGE_DISC,)),
        (RUNNING, {"disc": DISC, "second_disc": DISC}, (Step.FETCH_DISC, Step.CHANGE_DISC)),
        (replace(RUNNING, running_second_disc=str(DISC.image_id)), {"disc": DISC}, (Step.CHANGE_DISC,)),
        (RUNNING, {"power": Power.OFF, "stop_mode": StopMode.ASK}, (Step.ASK_GUEST,)),
        (RUNNING, {"power": Power.OFF, "stop_mode": StopMode.FORCE}, (Step.STOP,)),
        (RUNNING, {"power": Power.GONE}, (Step.STOP, Step.REMOVE)),
        (RUNNING, {"run": 2, "stop_mode": StopMode.ASK}, (Step.ASK_GUEST, *START)),
        (OFF, {"run": 1}, ()),
        (OFF, {"run": 2}, START),
        (OFF, {"run": 2, "second_disc": DISC}, (Step.FETCH_DISC, *START)),
        (OFF, {"power": Power.OFF}, ()),
        (OFF, {"power": Power.GONE}, (Step.REMOVE,)),
        (NOTHING, {"power": Power.OFF}, (Step.MAKE_DISKS,)),
    ],
)
def test_only_what_is_missing_is_done(
    found: Found, changes: dict[str, object], expected: tuple[Step, ...]
) -> None:
    assert steps_for(wishes.spec(**changes), found) == expected


PAUSED = replace(RUNNING, paused=True)
SAVED = replace(OFF, ended_run=None, saved_run=1)
WAKE = (Step.FETCH_DISC, Step.PREPARE_NETWORK, Step.WAKE)


@pytest.mark.parametrize(
    ("found", "changes", "expected"),
    [
        (RUNNING, {"power": Power.PAUSED}, (Step.PAUSE,)),
        (PAUSED, {"power": Power.PAUSED}, ()),
        (PAUSED, {}, (Step.RESUME,)),
        (PAUSED, {"power": Power.OFF}, (Step.RESUME, Step.ASK_GUEST)),
        (PAUSED, {"power": Power.OFF, "stop_mode": StopMode.FORCE}, (Step.STOP,)),
        (PAUSED, {"power": Power.SAVED}, (Step.SAVE,)),
        (RUNNING, {"power": Power.SAVED}, (Step.SAVE,)),
        (SAVED, {"power": Power.SAVED}, ()),
        (OFF, {"power": Power.SAVED}, (Step.SAVE,)),  # which says that there is nothing to save
        (SAVED, {}, WAKE),
        (SAVED, {"power": Power.PAUSED}, ()),
        (SAVED, {"run": 2}, (Step.DISCARD_SAVED, Step.FETCH_DISC, *START)),
        (SAVED, {"power": Power.OFF}, (Step.DISCARD_SAVED,)),
        (SAVED, {"power": Power.GONE}, (Step.REMOVE,)),
    ],
)
def test_a_machine_that_stands_still_goes_on_from_there(
    found: Found, changes: dict[str, object], expected: tuple[Step, ...]
) -> None:
    assert steps_for(wishes.spec(disc=DISC, **changes), found) == expected


def test_what_a_fault_made_stand_still_goes_on_only_when_it_is_told_to() -> None:
    assert steps_for(wishes.spec(disc=DISC), RUNNING) == ()
    assert steps_for(wishes.spec(disc=DISC), RUNNING, Resume()) == (Step.RESUME,)
    assert steps_for(wishes.spec(disc=DISC), PAUSED, Resume()) == (Step.RESUME,)
    assert steps_for(wishes.spec(disc=DISC), RUNNING, Reset()) == (Step.RESET,)


def test_a_run_that_its_host_cut_off_is_started_again() -> None:
    cut_off = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=None)
    assert steps_for(wishes.spec(), cut_off) == START
