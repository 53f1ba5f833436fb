"""Arrays that are computed once and kept on disk: decoded photos, and what frozen stages make of them."""
