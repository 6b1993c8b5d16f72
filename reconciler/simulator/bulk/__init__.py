"""Bulk operations: queries, mutations, staged uploads and result files."""
