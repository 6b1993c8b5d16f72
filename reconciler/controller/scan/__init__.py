"""Whole stores: scans for plans and for resyncs, and what keeps them small in memory."""
