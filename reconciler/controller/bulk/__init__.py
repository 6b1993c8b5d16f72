"""The bulk tier of `apply`: large plans as files of writes. Optional: the main path does not know it."""
