"""Findings: squawk's rules for unsafe DDL, and our own about the way back."""
