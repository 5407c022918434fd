"""What is on a machine's screen: as the browser shows it, and as the emulator itself says."""

from __future__ import annotations

import base64
import io
import json
import socket
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Locator


def in_the_browser(canvas: Locator) -> Image.Image:
    """The console's picture, in the machine's own size."""
    url = str(canvas.evaluate("canvas => canvas.toDataURL('image/png')"))
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def in_the_machine(qmp: Path, run: Path) -> Image.Image:
    """The emulator's own picture (QMP screendump). `run` is the folder into which qemu may write."""
    with tempfile.NamedTemporaryFile(dir=run, suffix=".ppm") as target:
        Path(target.name).chmod(0o666)
        _ask(qmp, "screendump", {"filename": target.name})
        return Image.open(target.name).convert("RGB")


def text_of(qmp: Path) -> str:
    """The 80 x 25 characters of a screen in text mode, as they lie in the machine's memory at 0xb8000."""
    lines = _ask(qmp, "human-monitor-command", {"command-line": "xp /2000xh 0xb8000"}).splitlines()
    cells = [int(word, 16) & 0xFF for line in lines for word in line.partition(":")[2].split()]
    rows = ["".join(chr(c) if 32 <= c < 127 else " " for c in cells[i : i + 80]) for i in range(0, 2000, 80)]
    return "\n".join(row.rstrip() for row in rows)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Which part of all pixels differs; 1.0 where the sizes do."""
    if one.size != other.size:
        return 1.0
    changed = ImageChops.difference(one, other).convert("L").point(lambda value: 255 if value > 24 else 0)
    return changed.histogram()[255] / (one.width * one.height)


def shows_the_menu(picture: Image.Image) -> bool:
    """Debian's installer asks something: a grey window (newt) on blue."""
    small = picture.resize((160, 100), Image.Resampling.NEAREST).tobytes()
    pixels = Counter(zip(small[0::3], small[1::3], small[2::3], strict=True))
    blue = sum(count for (r, g, b), count in pixels.items() if b > 120 and r < 60 and g < 60)
    grey = sum(count for (r, g, b), count in pixels.items() if r == g == b and 120 < r < 230)
    return blue > 160 * 100 * 0.1 and grey > 160 * 100 * 0.2


def _ask(qmp: Path, command: str, arguments: dict[str, str]) -> str:
    """One QMP command and its answer (qemu's docs/interop/qmp-spec)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(qmp))
        lines = connection.makefile("rw")
        lines.readline()
        for ask in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            lines.write(json.dumps(ask) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
            while "event" in answer:
                answer = json.loads(lines.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])
    return str(answer["return"])
