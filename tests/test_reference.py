"""The committed results are what their records say, byte for byte."""

from __future__ import annotations

import pytest

from tests.helpers import reference


@pytest.mark.parametrize("name", reference.stores())
def test_tables_are_those_of_the_records(name, tmp_path):
    found = reference.tables(name, reference.compared(name, tmp_path))
    for file, contents in found.items():
        assert contents == (reference.REFERENCE / name / file).read_bytes(), file
    rendered = {name: found["tables.md"].decode()}, {name: reference.provenance(tmp_path)}
    shown = (reference.REFERENCE / "README.md").read_text(encoding="utf-8")
    assert f"<!-- {name}: made by" in shown or name == "curves"
    assert reference.with_results(shown, *rendered) == shown
    if name == reference.FRONT:
        front = (reference.ROOT / "README.md").read_text(encoding="utf-8")
        assert f"<!-- {name}: made by" in front
        assert reference.with_verdict(front, found["tables.md"].decode()) == front


def test_the_speed_in_readme_is_what_was_measured():
    shown = (reference.ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- speed: made by" in shown
    assert reference.with_speed(shown) == shown


@pytest.mark.slow
@pytest.mark.parametrize("name", reference.stores())
def test_the_page_and_its_figures_are_those_of_the_records(name, tmp_path):
    compared = reference.compared(name, tmp_path / "store")
    found = reference.page(name, compared, tmp_path / "report")
    committed = (reference.REFERENCE / name / "report").glob("*")
    assert set(found) == {f"report/{path.name}" for path in committed}
    for file, contents in found.items():
        assert contents == (reference.REFERENCE / name / file).read_bytes(), file
