"""The gate at the pull request: what the new migrations of a branch do, and whether there is a proved way back."""
