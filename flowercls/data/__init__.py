"""From a raw folder to samples."""
