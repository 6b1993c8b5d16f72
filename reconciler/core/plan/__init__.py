"""Plans: the decisions of a scan put in order, guarded, counted and sealed; and the plan that reverts writes."""
