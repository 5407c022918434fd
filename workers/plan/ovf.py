"""A machine as other virtualizers read it: an OVF 1.1 descriptor (DMTF DSP0243) and the manifest beside it. Pure.

CPUs, memory, disks and cards are imitated hardware that VirtualBox and VMware both have: AHCI and e1000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from workers.contract.spec import Firmware, GuestKind, MachineSpec

_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
_VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
_VMW = "http://www.vmware.com/schema/ovf"
_STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_LINUX_64, _OTHER_64 = "101", "102"  # CIM_OperatingSystem.OSType
_CPU, _MEMORY, _ETHERNET, _DISK, _CONTROLLER = "3", "4", "10", "17", "20"  # CIM_ResourceAllocationSettingData

for _prefix, _address in (("ovf", _OVF), ("rasd", _RASD), ("vssd", _VSSD), ("vmw", _VMW)):
    ElementTree.register_namespace(_prefix, _address)


@dataclass(frozen=True)
class ExportedDisk:
    """A disk's file beside the descriptor; sizes in bytes, `size_bytes` of the disk and `stored_bytes` of the file."""

    file: str
    size_bytes: int
    stored_bytes: int


def descriptor(spec: MachineSpec, disks: Sequence[ExportedDisk]) -> bytes:
    """The descriptor, as XML."""
    root = ElementTree.Element(_ovf("Envelope"))
    references = _child(root, "References")
    section = _child(root, "DiskSection")
    _text(section, "Info", "The disks")
    for number, disk in enumerate(disks, 1):
        attributes = {"id": f"file{number}", "href": disk.file, "size": str(disk.stored_bytes)}
        _child(references, "File", **attributes)
        _child(
            section,
            "Disk",
            diskId=f"disk{number}",
            fileRef=f"file{number}",
            capacity=str(disk.size_bytes),
            capacityAllocationUnits="byte",
            format=_STREAM_OPTIMIZED,
        )
    networks = _child(root, "NetworkSection")
    _text(networks, "Info", "The networks")
    _text(_child(networks, "Network", name="nat"), "Description", "A private network with a way out")
    system = _child(root, "VirtualSystem", id="machine")
    _text(system, "Info", "A machine")
    _text(system, "Name", spec.name)
    kind = _LINUX_64 if spec.guest is GuestKind.LINUX else _OTHER_64
    _text(_child(system, "OperatingSystemSection", id=kind), "Info", "The kind of system")
    _hardware(system, spec, disks)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def manifest(sums: Iterable[tuple[str, str]]) -> bytes:
    """The sums of the files, as `sha256sum --tag` nearly writes them; pairs of name and SHA-256 in hex."""
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in sums).encode()


def _hardware(system: ElementTree.Element, spec: MachineSpec, disks: Sequence[ExportedDisk]) -> None:
    hardware = _child(system, "VirtualHardwareSection")
    _text(hardware, "Info", "The hardware")
    about = _child(hardware, "System")
    for name, value in (
        ("ElementName", "Virtual Hardware Family"),
        ("InstanceID", "0"),
        ("VirtualSystemIdentifier", spec.name),
        ("VirtualSystemType", "vmx-13"),
    ):
        ElementTree.SubElement(about, f"{{{_VSSD}}}{name}").text = value
    _item(
        hardware, 1, _CPU, f"{spec.cpus} CPUs", AllocationUnits="hertz * 10^6", VirtualQuantity=str(spec.cpus)
    )
    _item(
        hardware,
        2,
        _MEMORY,
        f"{spec.memory_mib} MB of memory",
        AllocationUnits="byte * 2^20",
        VirtualQuantity=str(spec.memory_mib),
    )
    _item(hardware, 3, _CONTROLLER, "SATA controller", Address="0", ResourceSubType="AHCI")
    for number, _disk in enumerate(disks, 1):
        _item(
            hardware,
            3 + number,
            _DISK,
            f"Disk {number}",
            AddressOnParent=str(number - 1),
            HostResource=f"ovf:/disk/disk{number}",
            Parent="3",
        )
    for number, _nic in enumerate(spec.nics, 1):
        _item(
            hardware,
            3 + len(disks) + number,
            _ETHERNET,
            f"Network card {number}",
            AutomaticAllocation="true",
            Connection="nat",
            ResourceSubType="E1000",
        )
    if spec.firmware is not Firmware.BIOS:
        settings = {f"{{{_VMW}}}key": "firmware", f"{{{_VMW}}}value": "efi", _ovf("required"): "false"}
        ElementTree.SubElement(hardware, f"{{{_VMW}}}Config", settings)


def _item(parent: ElementTree.Element, number: int, kind: str, name: str, **more: str) -> None:
    """One piece of hardware. The order of its children is alphabetical, as the schema has it."""
    fields = more | {"ElementName": name, "InstanceID": str(number), "ResourceType": kind}
    item = _child(parent, "Item")
    for field in sorted(fields):
        ElementTree.SubElement(item, f"{{{_RASD}}}{field}").text = fields[field]


def _child(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        parent, _ovf(tag), {_ovf(attribute): value for attribute, value in attributes.items()}
    )


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    _child(parent, name).text = text


def _ovf(name: str) -> str:
    return f"{{{_OVF}}}{name}"
