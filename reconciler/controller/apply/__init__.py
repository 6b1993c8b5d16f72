"""Apply plans: check each action again, execute it, and report its outcome."""
