"""Speech synthesis engines and the cache in front of them."""
