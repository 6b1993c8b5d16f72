"""What the processes of one state share: leases, budgets, the clock, the running replicas."""
