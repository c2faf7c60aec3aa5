"""What an adapter says: fields, entities, rules, rights and order. No input or output happens here."""

from crdtsync.schema.composites import Rows, Set, Struct
from crdtsync.schema.entity import Entity
from crdtsync.schema.fields import Counter, Key, Kind, Money, Once, Quantity, Ref, Register
from crdtsync.schema.partition import (
    by_account,
    by_due_month,
    by_lane_month,
    by_place,
    by_store,
    by_store_month,
)
from crdtsync.schema.roles import Identity, Role
from crdtsync.schema.rules import (
    Beside,
    Broken,
    Case,
    Fine,
    Invariant,
    Option,
    Records,
    RuleKind,
    Severity,
    Verdict,
    Writes,
    check,
    concurrent_edits,
    invariant,
    option,
    references,
)
from crdtsync.schema.schema import Schema, load_installed
from crdtsync.schema.shape import Shape

__all__ = [
    "Beside",
    "Broken",
    "Case",
    "Counter",
    "Entity",
    "Fine",
    "Identity",
    "Invariant",
    "Key",
    "Kind",
    "Money",
    "Once",
    "Option",
    "Quantity",
    "Records",
    "Ref",
    "Register",
    "Role",
    "Rows",
    "RuleKind",
    "Schema",
    "Set",
    "Severity",
    "Shape",
    "Struct",
    "Verdict",
    "Writes",
    "by_account",
    "by_due_month",
    "by_lane_month",
    "by_place",
    "by_store",
    "by_store_month",
    "check",
    "concurrent_edits",
    "invariant",
    "load_installed",
    "option",
    "references",
]
