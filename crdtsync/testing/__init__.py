"""What proves an implementation: contract tests for third parties' parts, and the simulated cluster.

Nothing in crdtsync outside this package imports it.
"""
