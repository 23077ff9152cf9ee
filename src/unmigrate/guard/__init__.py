"""Guarding: the same migration, made so that it destroys nothing, and its way back that brings all of it home."""
