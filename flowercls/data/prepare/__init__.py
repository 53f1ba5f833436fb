"""Raw folder of photos → prepared folder."""
