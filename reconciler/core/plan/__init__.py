"""Plans: the decisions of a scan, ordered, guarded, counted and given a digest; and the plan that reverts writes."""
