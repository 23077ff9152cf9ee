"""One file per outside system: what is asked of it, the exact call as text, and whether it may be asked."""
