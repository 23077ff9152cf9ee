"""The proof on production-like data: a sample of a database that is only read, tried on scratch, and what its real sizes promise."""
