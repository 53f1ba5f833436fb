"""A raw folder of photos → a prepared folder."""
