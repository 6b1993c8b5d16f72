"""The fields of a customer: how the spec is derived from a profile, and compared with the observed customer."""
