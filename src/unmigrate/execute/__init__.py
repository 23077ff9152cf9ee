"""Running a plan on a live database; never planning.

rollback    begins here, for every plan: check, prepare, switch, finish; deploy is one migration, ways are plans that wait in the vault
inspect     what is asked of the target beforehand (asking: with limits); duration: how long locks would be held; privileges; refuse
switch      the one transaction; blocking: who is in its way; copies: what it takes away goes to the vault first
finish      the steps around the switch, journalled
pipeline    guards around somebody else's deploy: armed, finished, abandoned
"""
