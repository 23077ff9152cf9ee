"""The runbook as one durable run: steps in order, each recorded, resumable after a crash, with a way out from each."""
