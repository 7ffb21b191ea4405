"""Migrations as text: where a statement ends, what may have changed, what is filled in."""

import pytest

from schemas.errors import ConfigError
from streams.migrate import Migration, filled, pending, shipped, split


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2;", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; \\'; x'; SELECT 2", ["SELECT 'it''s; \\'; x'", "SELECT 2"]),
        ('SELECT ";", `a;b`; SELECT 2', ['SELECT ";", `a;b`', "SELECT 2"]),
        ("SELECT 1 -- no; end\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("/* ; \n ; */ SELECT 1", ["SELECT 1"]),
        ("SELECT 1 /* it's */; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("-- it's nothing\n;;\n  ", []),
        ("SELECT 5 - -1 / 2", ["SELECT 5 - -1 / 2"]),
        ("", []),
    ],
)
def test_a_semicolon_ends_a_statement_only_outside_of_strings_and_comments(text: str, statements: list[str]) -> None:
    assert list(split(text)) == statements


def test_every_shipped_migration_can_be_filled_in_and_split_for_every_profile() -> None:
    for migration in shipped():
        if migration.number == 6:  # exchanges a table: `test_slot_order` cuts it off at every statement
            continue
        for statement in (*split(filled(migration.text, "embedded")), *split(filled(migration.text, "production"))):
            assert statement.startswith(("CREATE ", "ALTER TABLE ")), statement[:40]
            again = " IF NOT EXISTS " in statement or " MODIFY SETTING " in statement
            assert again, "a migration that was cut off is run again from its start"
            assert "${" not in statement


def test_the_checksum_is_of_the_text_before_retention_is_filled_in() -> None:
    migration = shipped()[0]
    assert "${" in migration.text
    assert migration.checksum == Migration(number=9, name="x", text=migration.text).checksum
    assert len(migration.checksum) == 32


def test_an_unknown_retention_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="ETERNITY_DAYS"):
        filled("TTL ${ETERNITY_DAYS}", "embedded")


def test_what_is_not_applied_is_left_in_order() -> None:
    known = [Migration(number=number, name=f"{number:04d}_x", text=str(number)) for number in (1, 2, 3)]
    assert pending(known, {1: known[0].checksum}) == known[1:]
    with pytest.raises(ConfigError, match="0002_x was changed"):
        pending(known, {2: "other"})
    with pytest.raises(ConfigError, match="0004 is applied and unknown"):
        pending(known, {4: "x"})
