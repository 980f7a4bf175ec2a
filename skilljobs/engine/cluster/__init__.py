"""The cluster that jobs run on: what it has, how it is reached, and what is asked of its machines."""
