"""Every code, step, state and kind has its words; none is forgotten."""

from __future__ import annotations

from itertools import product

from portal.activity.errors import WORDS, words_for
from portal.activity.models import Kind
from portal.activity.words import STATE_LABELS, STEP_LABELS
from portal.fleet.words import kvm_sentence, trial_label
from portal.machines.status import Seen, possible, status_of
from workers.contract.errors import ErrorCode
from workers.contract.host import CpuFacts, HostFacts, KvmAnswer, KvmProbe
from workers.contract.messages import EndReason, Observed, OperationState, Step
from workers.contract.spec import Power


def test_every_error_has_a_sentence_and_an_advice() -> None:
    assert set(WORDS) == set(ErrorCode)
    assert all(
        str(words.sentence).endswith(".") and str(words.advice).endswith(".") for words in WORDS.values()
    )
    assert words_for("a code of tomorrow") == WORDS[ErrorCode.INTERNAL]


def test_every_step_and_state_has_a_label() -> None:
    assert set(STEP_LABELS) == set(Step)
    assert set(STATE_LABELS) == set(OperationState)


def test_every_answer_of_the_probe_has_a_sentence() -> None:
    cpu = CpuFacts(
        model="x", threads=1, extension=None, switched_on_in_firmware=None, kvm_modules=(), kvm_device=False,
        kvm_device_opens=False,
    )  # fmt: skip
    for answer in KvmAnswer:
        facts = HostFacts(
            cpu=cpu, kvm=KvmProbe(answer=answer, detail=""), qemu_version="7", kernel="6", missing_features=()
        )
        assert ("slow" in kvm_sentence(facts)) == (answer is not KvmAnswer.WORKS)
        assert trial_label(answer)


def test_every_combination_of_facts_gives_a_status_and_something_to_do() -> None:
    combinations = product(
        Power, ["", *Observed], ["", *EndReason], ["", *Kind], ["", *OperationState], [False, True]
    )
    for wanted, observed, reason, kind, state, silent in combinations:
        status = status_of(Seen(wanted, observed, reason, kind, state, silent, "rack-1"))
        assert status.label
        assert (status.state == "unknown") == silent
        can = possible(status, has_disc=True, wanted=wanted)
        assert any(can.values()) or status.known in ("deleting", "creating")
        assert not (can["start"] and can["shut_down"])
