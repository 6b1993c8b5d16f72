"""Reports for people and programs: status, explanations, drift and certificates."""
