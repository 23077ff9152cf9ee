"""Running a migration on scratch, and what undoes it.

replay      runs a migration as Prisma would, observed
invert      begins here: statements in order; work is what there is to undo (model: steps as data)
apart       what must go before what; waiting: what returns late; dependents: who depends on what, asked of the database
retype      enums swapped by type; fill: values for columns that return as NOT NULL; counting: sequences go on
losses      what cannot be brought back; unseen: what generated rows do not show
checks      rows on the target that would stop the way back; fits, retyped, zones: which values come back from another type
server      what a migration asks the server, asked of the target again
"""
