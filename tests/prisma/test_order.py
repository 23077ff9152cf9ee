"""The order of migrations, against JavaScript's own."""

import itertools
import json
import os
import random
import shutil
import subprocess

import pytest

from unmigrate.prisma.order import order_key

# Sorted as Prisma sorts them, which is in no way the order of bytes.
SORTED = [
    "0_init", "00_init", "0001_a", "01_b", "1_a", "1-a", "10_a", "2_add", "20210101_Zoe", "20210101000000_add", "20210101000000_Add",
    "20210101000000_add_b", "20210101000000_add-b", "20210101000000_addb", "9_a", "a_b", "a-b", "a.b", "ab", "aB", "Ab", "add_é", "b",
]  # fmt: skip


def sort(names: list[str]) -> list[str]:
    return sorted(names, key=order_key)


def test_a_known_order() -> None:
    assert sort(SORTED[::-1]) == SORTED


def test_it_does_not_depend_on_where_one_begins() -> None:
    shuffled = SORTED[:]
    random.Random(3).shuffle(shuffled)
    assert sort(shuffled) == SORTED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1_b", "10_a"),  # by bytes "10" would be first
        ("10_x", "9_x"),  # numbers are not compared as numbers
        ("a_z", "aa"),  # punctuation before letters
        ("add", "Add"),  # small before capital, but only where nothing else differs
        ("ADD_a", "add_b"),
        ("resume", "résumé"),
        ("résumé1", "resume2"),  # accents only where no letter differs
        ("strasse", "straße"),
        ("straße", "strast"),
        ("x", "x_"),
    ],
)
def test_pairs(first: str, second: str) -> None:
    assert sort([second, first]) == [first, second]


@pytest.mark.parametrize("alphabet", ["_-0123456789abxyABXY", "".join(map(chr, range(32, 127))), "_1aAáÁàäåãāčçñöøőłđdßsæœueéèêëēz"])
def test_node_agrees(alphabet: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed (apt install nodejs)")
    chance = random.Random(alphabet)
    names = ["".join(chance.choices(alphabet, k=chance.randint(1, 6))) for _ in range(3000)]
    near = ["".join(chance.choice(alphabet) if chance.random() < 0.2 else char for char in name) for name in names]
    script = (
        "const p = JSON.parse(require('fs').readFileSync(0)); console.log(JSON.stringify(p.map(([a, b]) => Math.sign(a.localeCompare(b)))))"
    )
    pairs = [*zip(names, near, strict=True), *itertools.pairwise(SORTED)]
    environ = {"PATH": os.environ["PATH"]}  # without the person's LANG: a language may have an order of its own
    said = subprocess.run(["node", "-e", script], input=json.dumps(pairs), capture_output=True, text=True, check=True, env=environ)
    for (a, b), sign in zip(pairs, json.loads(said.stdout), strict=True):
        ours = (order_key(a) > order_key(b)) - (order_key(a) < order_key(b))
        assert sign in (0, ours), (a, b)  # what node holds to be equal we tell apart by name
