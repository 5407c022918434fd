"""`python -m tests.bench [--quick]`: bring the product up, measure it against the same by hand, print one table."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.bench import (
    clone,
    create,
    fifty,
    full_check,
    memory,
    pages,
    rules,
    sampling,
    start,
    throughput,
)
from tests.bench.by_hand import shell_in
from tests.bench.site import running_site
from tests.bench.table import NOT_MET, Row, drawn
from tests.lab.network import HostNetwork

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Measure and print; at Ctrl-C take everything away and end with status 130."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 repeats: only to see that it works")
    repeats = 3 if parser.parse_args().quick else 20
    for number in _ENDING:
        signal.signal(number, _stop)
    rows: list[Row] = []
    before = os.getloadavg()[0]
    try:
        _measure(rows, repeats)
    except KeyboardInterrupt:
        print("\nStopped; everything was taken away.", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if rows:
            print(
                f"Median and p95 of {repeats}, ours and by hand in turn; the difference is that of the medians."
            )
            print(f"{os.cpu_count()} processors; load {before:.1f} before, {os.getloadavg()[0]:.1f} after.")
            print(drawn(rows))
    if any(row.met == NOT_MET for row in rows):
        raise SystemExit(1)


def _measure(rows: list[Row], repeats: int) -> None:
    """All figures, one after another; what was measured before a failure is in `rows`."""
    with _folder() as folder:
        with _network(folder) as network, running_site(folder, network) as site:
            with shell_in(folder / "hand", network) as by_hand:
                _say("starting machines")
                rows += start.measure(site, by_hand, repeats)
                _say("creating machines")
                rows += create.measure(site, by_hand, repeats)
                _say("machines from a template")
                rows += clone.measure(site, by_hand, repeats)
                _say("fifty machines at once")
                rows += fifty.measure(site, by_hand, rounds=3 if repeats > 3 else 1)
            _say("memory at rest")
            at_rest = memory.measure(site)
        with _network(folder) as network:
            _say("pages with 1,000 machines")
            rows += pages.measure(folder / "pages", network, rounds=5 if repeats > 3 else 1)
            _say("rules of up to 1,000 machines")
            rows += rules.measure(folder / "rules", network, repeats)
        with _network(folder) as network:
            _say("a full check of all networks")
            rows += full_check.measure(folder / "check", network, repeats)
        _say("what networks carry")
        rows += throughput.measure(rounds=5 if repeats > 3 else 1)
        rows += at_rest
        _say("sampling a hundred machines")
        rows += sampling.measure(folder / "sampling", rounds=repeats)


@contextmanager
def _folder() -> Iterator[Path]:
    """A short path, since sockets lie below it; open to the accounts that the product runs as."""
    folder = Path(tempfile.mkdtemp(prefix="ofsb-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _network(folder: Path) -> Iterator[HostNetwork]:
    """A namespace without an internet. It is made whole before a Ctrl-C is heard."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    network = HostNetwork(folder, internet=False)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        yield network
    finally:
        network.close()


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # once is enough; what follows only tidies up
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
