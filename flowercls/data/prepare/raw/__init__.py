"""Raw folder → its photos, each with class, given set and group."""
