"""Many runs: which they are, what became of each, and how they are started."""
