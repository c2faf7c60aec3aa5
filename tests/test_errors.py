"""The tree of errors in the module's docstring is the tree of the classes."""

from __future__ import annotations

import re

from crdtsync import errors


def test_the_docstring_draws_every_error_under_its_parent() -> None:
    drawn = re.findall(r"^    (?P<lead>[│├└─ ]*)(?P<name>[A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    path: list[str] = []
    parents: dict[str, str] = {}
    for lead, name in drawn:
        depth = len(lead) // 4
        path[depth:] = [name]
        if depth:
            parents[name] = path[depth - 1]
    actual = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CrdtsyncError) and name != "CrdtsyncError"
    }
    assert parents == actual
