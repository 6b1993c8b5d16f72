"""The commands that compare profiles with shops: plan, apply, drift, undo."""
