"""How fast and how small: each figure is a ratio to a stated bare limit, measured in the same run.

It measures the project from outside and is never imported by it.
"""
