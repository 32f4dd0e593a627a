"""Methods compared on one data set, over shots and seeds."""
