"""The checks of `doctor` and `bootstrap`: functions from observed values to findings."""
