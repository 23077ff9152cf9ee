"""The gate at the pull request: what the new migrations of a branch do, and whether there is a proved way back.

run         begins here: base finds what is new, examine what is known of one migration (stage: on which databases); model is the result
observe     statement by statement, as pieces; impact: what each locks and reads
app         the previous version of the app on the new schema, as previous knows it; resume: can an interrupted file be run again
split       a lossy migration as two; split_files: as files
"""
