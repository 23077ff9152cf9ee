"""Trying ways back: what is claimed was shown.

audit       begins here, for whole histories: history is the schema half, rows the data half, entry what is told of each migration
attempt     one try of a way back; schema compares the catalogs; script tries one written by hand
dump        pg_dump as a second witness of a plan; witness: of an audit
statements  which statement did what; beside: as people read it
later       part of a long history in another process; told: its proofs, sent here
workspace   scratch databases; beginning: a history replayed; cache: what an earlier run proved
"""
