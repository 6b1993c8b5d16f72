"""A plan of octoDNS for a zone with nothing to do: FOLDER RECORDS. Says how long it took, and its peak memory."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from octodns.manager import Manager  # type: ignore[import-not-found]  # not in our environment

folder, records = Path(sys.argv[1]), int(sys.argv[2])
zone = "".join(f"r{n}:\n  type: A\n  value: 10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(records))
for name in ("source", "target"):
    (folder / name).mkdir()
    (folder / name / "bench.example.com.yaml").write_text(f"---\n{zone}")
provider = "    class: octodns.provider.yaml.YamlProvider\n    default_ttl: 300\n    enforce_order: false\n"
config = folder / "config.yaml"
config.write_text(
    "---\nproviders:\n"
    + "".join(f"  {name}:\n{provider}    directory: {folder / name}\n" for name in ("source", "target"))
    + "zones:\n  bench.example.com.:\n    sources: [source]\n    targets: [target]\n"
)


def peak_mb() -> int | None:
    """This program's own; what getrusage says is that of its parent process, where that was more. None elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), None)


began = time.perf_counter()
changes = Manager(str(config)).sync(dry_run=True)
print(  # noqa: T201  its output
    json.dumps(
        {
            "version": version("octodns"),
            "records": records,
            "changes": changes,
            "seconds": round(time.perf_counter() - began, 2),
            "peak_mb": peak_mb(),
        }
    )
)
