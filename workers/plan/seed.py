"""What a cloud image reads at its first start, as text. Pure.

cloud-init, data source NoCloud: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. Everything goes
through a YAML library, so that nothing a person typed can become another setting.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import yaml

from workers.contract.spec import SeedSpec

VOLUME = "cidata"
"""The label by which cloud-init finds the disk."""


def user_data(seed: SeedSpec) -> str:
    """The account, its keys, the name and the packages.

    `user` changes the account that the image would make anyway, so that it keeps its system's groups, shell and sudo.
    A password is taken over SSH only where there is no key.
    """
    account: dict[str, Any] = {"name": seed.user, "lock_passwd": not seed.password_hash}
    if seed.password_hash:
        account["passwd"] = seed.password_hash
    if seed.ssh_keys:
        account["ssh_authorized_keys"] = list(seed.ssh_keys)
    wanted: dict[str, Any] = {
        "hostname": seed.host_name,
        "manage_etc_hosts": "localhost",  # it knows itself by this name, without which sudo waits for a name server
        "user": account,
        "ssh_pwauth": bool(seed.password_hash) and not seed.ssh_keys,
    }
    if seed.packages:
        wanted |= {"package_update": True, "packages": list(seed.packages)}
    return "#cloud-config\n" + yaml.safe_dump(wanted, sort_keys=False, width=4096)


def meta_data(seed: SeedSpec, machine_id: UUID) -> str:
    """Who the machine is: another id makes cloud-init take it for a new one, so a clone is set up anew."""
    return yaml.safe_dump({"instance-id": str(machine_id), "local-hostname": seed.host_name}, sort_keys=False)
