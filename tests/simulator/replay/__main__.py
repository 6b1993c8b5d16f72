"""Prints what differs between recordings and simulator: `python -m tests.simulator.replay [-v] [PART OF A NAME]`."""

import json
import sys
from collections import Counter

from tests.simulator.replay.recordings import read_recordings
from tests.simulator.replay.replay import Replay


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> None:
    verbose = "-v" in sys.argv
    wanted = [each for each in sys.argv[1:] if not each.startswith("-")]
    counts: dict[str, Counter[str]] = {}
    for recording in read_recordings():
        if wanted and not any(each in recording.name for each in wanted):
            continue
        count = counts.setdefault(recording.area, Counter())
        for outcome in Replay(recording).run():
            count["calls"] += 1
            if outcome.skipped:
                count["skipped"] += 1
                if verbose:
                    say(f"- {recording.name} [{outcome.index}] skipped: {outcome.skipped}")
                continue
            count["replayed"] += 1
            count["costs"] += outcome.costs_compared
            count["differ" if outcome.found else "equal"] += 1
            if outcome.found:
                say(f"# {recording.name} [{outcome.index}] {outcome.root} cut={list(dict.fromkeys(outcome.cut))}")
                for each in outcome.found:
                    say(f"    {each.path}: {short(each.recorded)}  <>  {short(each.simulated)}")
    for area, count in counts.items():
        say(f"{area} {dict(count)}")


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 400 else text[:400] + "…"


main()
