"""The fields of a customer: from a profile to the spec, and how a spec is compared with what a shop shows."""
