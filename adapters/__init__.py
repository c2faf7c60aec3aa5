"""The retail categories, one module each: declarations of fields, rules and rights over crdtsync's public names.

It never reaches into crdtsync's insides: what these modules import is what any adapter author has.
"""
