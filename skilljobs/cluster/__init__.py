"""All that uses Ray: sessions, machines, scorer actors and their pool, reduce tasks, jobs through a dashboard."""
