"""What operators do, and what ran: acts, pauses, runs and parity over time."""
