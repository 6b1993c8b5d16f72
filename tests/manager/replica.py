"""`reconciler run` as a process with shorter pauses: python -m tests.manager.replica PAUSES-AS-JSON ARGUMENTS…"""

from __future__ import annotations

import json
import sys

from reconciler.cli.main import run
from reconciler.controller.worker import Pauses
from reconciler.manager import run as running
from reconciler.manager.rhythm import Rhythm

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    hurried = Rhythm(**{**given, "pauses": Pauses(**given.get("pauses", {}))})
    setattr(running, "Rhythm", lambda: hurried)  # noqa: B010  all else is the command as it is
    sys.exit(run(sys.argv[2:]))
