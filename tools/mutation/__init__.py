"""Small changes of a file's behaviour and the tests that notice them, for `tools/mutate.py`."""
