"""Snapshots: making, listing, finding and restoring them, and bringing back from them what a migration destroyed."""
