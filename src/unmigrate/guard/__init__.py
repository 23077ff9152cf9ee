"""Guarding: the same migration, made so that it destroys nothing, and its way back that brings all of it home.

build       begins here: one migration after the other, tried on scratch, as plans; policy and keeping are what the configuration says
recorder    finds the statements of the way up (program, as data); statement and types read their text, observed what they did
parking     a column or table is moved aside, an empty decoy takes its place (names: what it is called there); alone: nobody reads it on
filling     a parked column's values for rows written since; retyping: the expressions that convert
images      rows before and after a change; imaging: what an image keeps; keys: what identifies a row; reused, carried: while they wait
way_back    the way back and the way forward again; again and retaken are images on the way forward; online is what needs no locks
rows        proves both ways on generated rows
checks      which rows of the target would make a way fail; namesakes: those written to what bears the name of something that returns
ahead       guards around somebody else's deploy, put together; stake: what it may destroy; logged: triggers that log
"""
