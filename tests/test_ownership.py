"""What root makes in a node's folder belongs to the owner of the folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crdtsync.ownership import hand_over, of_another
from tests.service import GROUP, USER, as_root, given, of_others

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return given(tmp_path / "node")


@as_root
def test_a_file_and_a_folder_that_root_made_get_the_owner_of_the_folder(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "sub").mkdir()
    assert list(of_another(folder)) == [folder / "file", folder / "sub"]
    hand_over(folder / "file")
    hand_over(folder / "sub")
    assert of_others(folder) == []
    assert list(of_another(folder)) == []


@as_root
def test_what_another_user_owns_or_lies_outside_the_folder_is_left_alone(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "file").touch()
    os.chown(folder / "file", 1, 1)
    hand_over(folder / "file")
    assert (folder / "file").stat().st_uid == 1
    outside = tmp_path / "outside"
    outside.touch()
    hand_over(outside, folder)
    hand_over(folder / ".." / "outside", folder)
    assert outside.stat().st_uid == 0


@as_root
def test_what_lies_deeper_gets_the_owner_of_the_nodes_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").touch()
    hand_over(folder / "sub" / "file", folder)
    assert (folder / "sub" / "file").stat().st_uid == USER
    assert (folder / "sub" / "file").stat().st_gid == GROUP


@as_root
@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
def test_a_link_to_a_file_of_roots_does_not_give_that_file_away(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    link = folder / "link"
    getattr(link, kind)(secret)
    hand_over(link)
    assert secret.stat().st_uid == 0


@as_root
def test_who_is_not_root_gives_nothing_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    hand_over(folder / "file")
    assert (folder / "file").stat().st_uid == 0


@as_root
def test_a_file_system_without_owners_is_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (folder / "file").touch()
    monkeypatch.setattr(os, "chown", refuses)
    hand_over(folder / "file")
    assert list(of_another(folder)) == [folder / "file"]
