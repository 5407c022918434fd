"""The regular check and a person at the same moment: a bridge that was just taken away is not made again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab.host import ROOT
from tests.lab.network import HostNetwork
from workers.plan.names import StateFolder

CARD, BRIDGE = "card0", "br-card0"

_IN_THE_NAMESPACE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from workers.config import host_config
from workers.host import uplinks
from workers.host.boot import boot_id
from workers.host.files import write_json
from workers.host.layouts import read_layout
config = host_config({{"OFFSHOOT_HOST_STATE": sys.argv[1], "OFFSHOOT_BRIDGE_SECONDS": "1"}})
record = config.state.uplinks / "{BRIDGE}.json"
"""
_RECORD = """
record.parent.mkdir(parents=True)
layout = read_layout("card0")
write_json(record, {"id": "1", "to": "bridge", "card": "card0", "bridge": "br-card0", "layout": layout, "boot": boot_id()})
"""
_CHECK = """
print(uplinks.make_again(config))
"""
_CHECK_DURING_THE_REMOVAL = """
look = uplinks.reached_now
def confirmed_meanwhile(*args):
    record.unlink()
    return look(*args)
uplinks.reached_now = confirmed_meanwhile
print(uplinks.make_again(config))
"""


@pytest.fixture
def record(folder: Path, network: HostNetwork) -> Path:
    """A bridge is to be there around the card. The card is bare, as in the middle of the bridge's removal."""
    (folder / "fleet.key").write_text("unused")
    network.inside("ip", "link", "add", CARD, "type", "veth", "peer", "world0")
    network.inside("ip", "addr", "add", "198.51.100.7/24", "dev", CARD)
    for link in (CARD, "world0"):
        network.inside("ip", "link", "set", link, "up")
    inside(network, folder, _RECORD)
    return StateFolder(folder).uplinks / f"{BRIDGE}.json"


def inside(network: HostNetwork, folder: Path, words: str) -> str:
    """What a program on the host says."""
    return network.inside(sys.executable, "-c", _IN_THE_NAMESPACE + words, str(folder)).strip()


def test_a_bridge_whose_removal_is_confirmed_while_the_check_looks_stays_away(
    folder: Path, network: HostNetwork, record: Path
) -> None:
    assert inside(network, folder, _CHECK_DURING_THE_REMOVAL) == "()"
    assert BRIDGE not in network.inside("ip", "-o", "link")
    assert not list(record.parent.glob("**/*.json"))


def test_a_bridge_that_somebody_else_deleted_is_made_again(
    folder: Path, network: HostNetwork, record: Path
) -> None:
    assert inside(network, folder, _CHECK) == f"('{BRIDGE}',)"
    assert f"master {BRIDGE}" in network.inside("ip", "-o", "link", "show", CARD)
    assert record.exists()
