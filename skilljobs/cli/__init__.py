"""The command line, which only parses arguments and prints results."""
