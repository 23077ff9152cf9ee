"""What every provider of snapshots must do. A provider that cannot be run here is skipped visibly."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.snapshot.amazon import rds
from tests.snapshot.commands import commands
from tests.snapshot.kit import SECRET, Kit, quiet
from unmigrate.config.snapshot import PgDump as PgDumpConfig
from unmigrate.config.snapshot import Template as TemplateConfig
from unmigrate.errors import RefusedError, UnmigrateError
from unmigrate.snapshot.command import Command
from unmigrate.snapshot.find import judged, last_before, moments
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At, Provider
from unmigrate.snapshot.template import Template
from unmigrate.snapshot.verify import look


@pytest.fixture(params=["pg_dump", "template", "command", "rds", "rds-cluster", "rds-clone", "pgbackrest"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    if request.param == "pgbackrest":
        made = request.getfixturevalue("backrest").kit()
        made.begin()
        yield made
        return
    url = request.getfixturevalue("fresh_url")
    makers: dict[str, Callable[[], Provider]] = {
        "pg_dump": lambda: PgDump(PgDumpConfig(), url, tmp_path),
        "template": lambda: Template(TemplateConfig(), url),
        "command": lambda: Command(commands(), url, tmp_path),
        "rds": lambda: rds(request.getfixturevalue("amazon"), url),
        "rds-cluster": lambda: rds(request.getfixturevalue("amazon"), url, cluster="shop-aurora"),
        "rds-clone": lambda: rds(request.getfixturevalue("amazon"), url, cluster="shop-aurora", clones=True),
    }
    made = Kit(makers[request.param](), url, connects=not request.param.startswith("rds"))
    made.begin()
    yield made


def test_what_is_made_is_listed(kit: Kit) -> None:
    before = kit.value("select clock_timestamp()")
    first = kit.provider.create("first", quiet)
    second = kit.provider.create("second", quiet)
    after = kit.value("select clock_timestamp()")
    assert [s.id for s in kit.provider.snapshots()] == [first.id, second.id]
    assert kit.provider.snapshots() == (first, second)
    assert before <= first.created_at < second.created_at <= after
    assert first.provider == kit.provider.name
    assert not first.protected
    assert first.size is None or first.size > 0


def test_the_last_one_before_a_migration(kit: Kit) -> None:
    kit.provider.create("early", quiet)
    good = kit.provider.create("good", quiet)
    kit.deploy_bad()
    kit.provider.create("late", quiet)
    with kit.source() as connection:
        of = moments(connection, "public", "2_bad")
        found = kit.provider.snapshots()
        assert last_before(found, of) == good
        assert [bool(j.reason) for j in judged(found, of)] == [False, False, True]
        with pytest.raises(RefusedError, match="never applied"):
            moments(connection, "public", "3_other")


def test_one_taken_in_flight_never_qualifies(kit: Kit) -> None:
    kit.run("insert into _prisma_migrations (id, checksum, migration_name) values ('x', 'x', '2_bad')")
    during = kit.provider.create("during", quiet)
    with kit.source() as connection:
        waiting = moments(connection, "public", "2_bad")
    kit.run("update _prisma_migrations set finished_at = clock_timestamp() where id = 'x'")
    with kit.source() as connection:
        of = moments(connection, "public", "2_bad")
    for each in (waiting, of):
        (found,) = judged([during], each)
        assert "in flight" in found.reason
        with pytest.raises(RefusedError, match="in flight"):
            last_before([during], each)


def test_a_protected_one_is_not_dropped(kit: Kit) -> None:
    other = kit.provider.create("other", quiet)  # the last one of all is not dropped everywhere
    made = kit.provider.create("kept", quiet)
    assert kit.provider.protect(made.id, True).protected
    with pytest.raises(RefusedError) as refused:
        kit.provider.drop(made.id)
    assert refused.value.code == "protected"
    assert [s.protected for s in kit.provider.snapshots()] == [False, True]
    kit.provider.protect(made.id, False)
    kit.provider.drop(made.id)
    assert kit.provider.snapshots() == (other,)
    with pytest.raises(UnmigrateError) as unknown:
        kit.provider.drop(made.id)
    assert unknown.value.code == "no-snapshot"


def test_restored_beside_and_looked_at(kit: Kit) -> None:
    made = kit.provider.create("good", quiet)
    kit.deploy_bad()
    name = parse_name(kit)
    restored = kit.provider.restore(At(made.id), name, quiet)
    assert restored.fresh
    assert restored.url != kit.url
    again = kit.provider.restore(At(made.id), name, quiet)
    assert (again.url, again.fresh) == (restored.url, False)
    assert kit.value('select count(*) from "User"') == 4, "the old one is as it was"
    if not kit.connects:
        return
    with kit.restored(restored) as new, kit.source() as old:
        seen = look(new, old, ("2_bad",), "public")
        assert seen.ledger == ("1_init",)
        assert seen.fewer == {"public.User": 1}
        assert not seen.missing
        assert new.execute('select email, note from "User" order by id').fetchall() == [("u1", "n1"), ("u2", "n2"), ("u3", "n3")]
        new.execute("insert into \"User\" (email) values ('writable')")
    with kit.source() as old, pytest.raises(RefusedError, match="the app uses now"):
        look(old, old, ("2_bad",), "public")


def test_a_snapshot_from_after_is_seen_again_before_cut_over(kit: Kit) -> None:
    if not kit.connects:
        pytest.skip("nothing is behind what it restores here")
    kit.deploy_bad()
    made = kit.provider.create("late", quiet)
    restored = kit.provider.restore(At(made.id), parse_name(kit), quiet)
    with kit.restored(restored) as new, kit.source() as old, pytest.raises(UnmigrateError) as late:
        look(new, old, ("2_bad",), "public")
    assert late.value.code == "snapshot-after"


def test_nothing_is_restored_over_anything(kit: Kit) -> None:
    made = kit.provider.create("good", quiet)
    other = kit.provider.create("other", quiet)
    name = parse_name(kit)
    kit.provider.restore(At(made.id), name, quiet)
    with pytest.raises(RefusedError) as taken:
        kit.provider.restore(At(other.id), name, quiet)
    assert taken.value.code == "taken"
    with pytest.raises(RefusedError) as over:
        kit.provider.restore(At(made.id), source_name(kit), quiet)
    assert over.value.code == "taken"
    with pytest.raises(UnmigrateError) as unknown:
        kit.provider.restore(At("no-such-snapshot"), "elsewhere", quiet)
    assert unknown.value.code == "no-snapshot"


def test_only_what_was_restored_is_discarded(kit: Kit) -> None:
    made = kit.provider.create("good", quiet)
    with pytest.raises(RefusedError) as refused:
        kit.provider.discard(source_name(kit))
    assert refused.value.code == "not-ours"
    name = parse_name(kit)
    kit.provider.restore(At(made.id), name, quiet)
    kit.provider.discard(name)
    kit.provider.discard(name)  # again is nothing
    assert kit.provider.restore(At(made.id), name, quiet).fresh
    assert kit.value('select count(*) from "User"') == 3


def test_what_it_would_do_is_told_without_secrets(kit: Kit) -> None:
    made = kit.provider.create("good", quiet)
    p = kit.provider
    for shown in (p.shown_create("x"), p.shown_protect(made.id, True), p.shown_drop(made.id), p.shown_restore(At(made.id), "new")):
        assert shown
        assert SECRET not in " ".join(shown)
    assert p.lacking() == ()
    assert [s.id for s in p.snapshots()] == [made.id], "telling changes nothing"


def test_times_are_of_the_database(kit: Kit) -> None:
    made = kit.provider.create("good", quiet)
    assert abs(made.created_at - kit.value("select now()")) < timedelta(minutes=1)
    assert made.created_at.utcoffset() == timedelta(0)


def parse_name(kit: Kit) -> str:
    return f"{source_name(kit)}-restored".replace("_", "-")


def source_name(kit: Kit) -> str:
    from unmigrate.prisma.url import parse_url

    return str(getattr(kit.provider, "source_name", parse_url(kit.url).database))
