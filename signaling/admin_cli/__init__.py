"""``kloudtalk admin``: what operators do, on a command line. A thin client of the operators' API, and the few commands that only who
administers the machine may run (``local.py``).
"""
