"""Parsing schema.prisma: what people write, and errors with file and line."""

from pathlib import Path

import pytest

from unmigrate.errors import UsageError
from unmigrate.prisma.schema import Columns, Schema, parse_schema, read_schema
from unmigrate.prisma.syntax import Call, Name

TRICKY = r"""// a comment with model Foo {
generator client {
  provider        = "prisma-client-js"
  previewFeatures = ["multiSchema", "views"]
  binaryTargets   = ["native", env("X")]
}
datasource db { provider = "postgresql"
  url      = env("DATABASE_URL") // "quoted" { brace
  schemas  = ["public", "au\"dit"]
  relationMode = "prisma"
}
/* block comment: model Bar {
   id Int @id
} */
/// Documented.
model User {
  id        Int       @id @default(autoincrement())   // trailing
  e_mail    String    @unique(map: "users_mail_key") @map("email") @db.VarChar(320)
  role      Role      @default(USER)
  tags      String[]  @default(["a,b", "c]"])
  note      String?   @default("say \"hi\" \\ \u00e9")
  vec       Unsupported("vector(1536)")?
  made      DateTime  @default(now()) @db.Timestamptz(6)
  seen      DateTime? @updatedAt
  token     String    @default(dbgenerated("gen_random_uuid()")) @db.Uuid
  price     Decimal   @db.Decimal(10, 2)
  gone      Boolean   @default(false) @ignore
  posts     Post[]    @relation("author")
  profile   Profile?
  @@index([e_mail(ops: raw("text_pattern_ops")), made(sort: Desc)], map: "users_lookup", type: Gin)
  @@unique([role, token], name: "roleToken", map: "role_token")
  @@map("users")
  @@schema("au\"dit")
}

model Post {
  id Int
  lang String
  author User? @relation(
    "author",
    fields: [authorId], // the writer
    references: [id],
    onDelete: Cascade,
  )
  authorId Int?
    @map("author_id")
  @@id([id, lang])
  @@index([lang], where: { lang: "de" })
  @@ignore
}
model Profile { id Int @id }
view Stats {
  total Int
  @@map("stats_view")
}
enum Role {
  USER
  ADMIN @map("super admin") /// the boss
  @@map("role")
  @@schema("public")
}
"""


def parse(*texts: str) -> Schema:
    return parse_schema([(Path(f"{i}.prisma"), text) for i, text in enumerate(texts)])


@pytest.fixture(scope="module")
def tricky() -> Schema:
    return parse(TRICKY)


def test_datasource(tricky: Schema) -> None:
    assert (tricky.provider, tricky.schemas, tricky.relation_mode) == ("postgresql", ("public", 'au"dit'), "prisma")
    assert [m.name for m in tricky.models] == ["User", "Post", "Profile"]
    assert [(v.name, v.table, v.kind) for v in tricky.views] == [("Stats", "stats_view", "view")]


def test_model_names(tricky: Schema) -> None:
    user, post = tricky.model("User"), tricky.model("Post")
    assert user and post
    assert (user.table, user.schema, user.ignored, post.ignored) == ("users", 'au"dit', False, True)
    assert user.primary == Columns(("id",), None)
    assert post.primary == Columns(("id", "lang"), None)
    assert set(user.uniques) == {Columns(("email",), "users_mail_key"), Columns(("role", "token"), "role_token")}
    assert user.indexes == (Columns(("email", "made"), "users_lookup", "Gin"),)
    assert post.indexes == (Columns(("lang",), None, where=True),)


def test_fields(tricky: Schema) -> None:
    user, post = tricky.model("User"), tricky.model("Post")
    assert user and post
    fields = {f.name: f for f in user.fields}
    assert fields["e_mail"].column == "email"
    assert fields["e_mail"].native and fields["e_mail"].native.arguments == (("", "320"),)
    assert (fields["tags"].list, fields["tags"].default) == (True, ("a,b", "c]"))
    assert fields["note"].default == 'say "hi" \\ é'
    assert (fields["vec"].unsupported, fields["vec"].optional) == ("vector(1536)", True)
    assert fields["role"].default == "USER" and isinstance(fields["role"].default, Name)
    assert fields["token"].default == Call("dbgenerated", (("", "gen_random_uuid()"),))
    assert (fields["gone"].ignored, fields["seen"].updated_at, fields["seen"].optional) == (True, True, True)
    assert fields["price"].native and fields["price"].native.arguments == (("", "10"), ("", "2"))
    assert tricky.is_relation(fields["posts"]) and tricky.is_relation(fields["profile"]) and not tricky.is_relation(fields["role"])
    author, author_id = post.fields[2:]
    assert author.relation and author.relation.get("fields") == ("authorId",) and author.relation.get("name", 0) == "author"
    assert author_id.column == "author_id"


def test_enum(tricky: Schema) -> None:
    role = tricky.enum("Role")
    assert role and (role.type, role.schema, role.labels) == ("role", "public", ("USER", "super admin"))


def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "a.prisma").write_text("model A {\n id Int @id\n b B[]\n}\n")
    (tmp_path / "b.prisma").write_bytes("\ufeffmodel B {\r\n id Int @id\r\n a A[]\r\n}\r\n".encode())
    schema = read_schema([tmp_path / "a.prisma", tmp_path / "b.prisma"])
    assert [m.name for m in schema.models] == ["A", "B"]
    assert schema.is_relation(schema.models[0].fields[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model A {\n  id Int @id\n", "0.prisma:3: expected }, found the end of the file"),
        ("model A {\n  id Int @id(\n}\n", "0.prisma:3: expected a value, found }"),
        ("model A {\n  id\n}\n", "0.prisma:2: field id of A has no type"),
        ("model A {\n  id Int id2 Int\n}\n", "0.prisma:2: expected the end of the line, found id2"),
        ('model A {\n  id String @default("x\n}\n', '0.prisma:2: this is not understood: "x'),
        ("model A {\n id Int @id\n @@index([nope])\n}", "0.prisma:3: @@index names nope, which is no field of A"),
        ("model A {\n id Int @id\n}\n\nmodel A {\n id Int @id\n}", "0.prisma:5: A is declared at 0.prisma:1 too"),
        ("modell A {\n id Int @id\n}", "0.prisma:1: modell is no kind of block"),
        ("<<<<<<< HEAD\nmodel A {\n id Int @id\n}", "0.prisma:1: this is not understood: <<<<<<< HEAD"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert str(raised.value) == message
    assert raised.value.code == "schema-syntax"
