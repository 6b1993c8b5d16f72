"""`reconciler run` as a process with shorter pauses: python -m tests.manager.replica PAUSES-AS-JSON ARGUMENTS…

`freeze_after` among the pauses: words of a statement. After the first one that has them the process stops itself
(SIGSTOP), inside the transaction of that statement.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import Engine, event

from reconciler.cli.main import run
from tests.program import intervals_of, program


def freeze_after(words: str) -> None:
    """Stop this process inside the transaction of the first statement that has these words."""
    left = [words]

    @event.listens_for(Engine, "after_cursor_execute")
    def freeze(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if left and left[0] in statement:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if words := given.pop("freeze_after", ""):
        freeze_after(words)
    sys.exit(run(sys.argv[2:], group=program(intervals=intervals_of(given))))
